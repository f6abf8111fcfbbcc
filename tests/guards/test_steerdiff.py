"""SteerDiff: windows, spans, the map, who is steered and who is not."""

from __future__ import annotations

import pytest
import torch

import tiny
from closeness import near, same_bits
from stanchion import ArtefactError, ConfigError, SteerDiff, UnsupportedPipeline, load_guard, load_pipeline
from stanchion.guards.identifier import LONGEST, Identifier
from stanchion.guards.text._long_prompts import PromptPart, parts_of, token_ids_of
from stanchion.guards.text.steerdiff import merged_spans
from stanchion.pipeline.attach.looking import read
from stanchion.types import Condition, PromptEmbeds

WIDTH, ROWS = 6, 18
PLANTED = torch.tensor([4.0, 0, 0, 0, 0, 0])


class Caller:
    """A call on the CPU whose vocabulary is numbers."""

    device, dtype, clip_skip = torch.device("cpu"), torch.float32, None
    offers = ("words", "repetition")

    said = 0.0  # what every row of a phrase that is said twice or more holds; said once, it is nothing

    def words(self, token_ids, stream):
        return " ".join(str(int(token)) for token in token_ids)

    def read(self, texts):
        states = torch.zeros(len(texts), ROWS, WIDTH)
        content = (torch.arange(ROWS) == 1).expand(len(texts), -1)
        return PromptEmbeds(states, None, content, tuple(texts))

    def encode(self, texts):
        often = torch.tensor([float(len(text.split()) > 2) for text in texts])
        return Condition((self.said * often)[:, None, None].expand(-1, ROWS, WIDTH))


def detector(weight=1.0):
    """A guard that flags windows whose first token has more than 2 in the planted direction, and a random map."""
    identifier = Identifier(WIDTH)
    for layer in (identifier.first, identifier.second, identifier.last):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    with torch.no_grad():
        identifier.first.weight[0, 0] = 1
        identifier.second.weight[0, 0] = 1
        identifier.last.weight[0, 0] = 5 * weight
        identifier.last.bias.fill_(-10)
    torch.manual_seed(0)
    return {**identifier.state_dict(), "map.weight": torch.randn(WIDTH, WIDTH), "map.bias": torch.randn(WIDTH)}


def steer(states, *, tokens=None, role="prompt", tensors=None, caller=None, **settings):
    guard = SteerDiff("weapons", tensors=tensors or detector(), **settings)
    content = ids = None
    if tokens is not None:
        content = torch.zeros(states.shape[:2], dtype=torch.bool)
        for row, count in enumerate(tokens):
            content[row, 1 : 1 + count] = True
        ids = torch.arange(states.shape[1]).expand(states.shape[:2])
    return guard.steer(PromptEmbeds(states, ids, content, role=role), guard.begin(caller or Caller()))


def states(*planted, batch=1):
    """Random states with the planted direction in some rows of the first prompt."""
    values = 0.3 * torch.randn(batch, ROWS, WIDTH, generator=torch.Generator().manual_seed(1))
    values[0, list(planted)] += PLANTED
    return values


def test_scanning_equals_the_identifier_on_every_window():
    torch.manual_seed(0)
    identifier, values = Identifier(WIDTH), torch.randn(2, ROWS, WIDTH)
    content = torch.zeros(2, ROWS, dtype=torch.bool)
    content[0, 1:12], content[1, 1:4] = True, True
    scores = identifier.scan(values, content)
    for prompt, end in ((0, 12), (1, 4)):
        for start in range(ROWS):
            for count in range(1, LONGEST + 1):
                window = torch.zeros(1, LONGEST, WIDTH)
                expected = 0.0
                if start >= 1 and start + count <= end:
                    window[0, :count] = values[prompt, start : start + count]
                    expected = identifier(window).sigmoid().item()
                assert scores[prompt, start, count - 1].item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("n", [9, 10, 28])
def test_number_of_windows(n):
    content = torch.zeros(1, n + 2, dtype=torch.bool)
    content[:, 1:-1] = True
    scores = Identifier(WIDTH).scan(torch.zeros(1, n + 2, WIDTH), content)
    assert int((scores > 0).sum()) == 9 * n - 36


def test_the_identifier_has_the_papers_size():
    assert sum(p.numel() for p in Identifier(768).parameters()) == 696_401


@pytest.mark.parametrize(
    ("hits", "spans"),
    [
        ([], []),
        ([(2, 1)], [(2, 3)]),
        ([(2, 1), (2, 2), (2, 3)], [(2, 5)]),
        ([(2, 1), (2, 3)], [(2, 3)]),  # a chain that breaks off
        ([(2, 2)], []),  # a chain that never begins
        ([(2, 1), (2, 2), (3, 1), (3, 2)], [(2, 5)]),
        ([(2, 1), (3, 1)], [(2, 4)]),  # neighbours touch
        ([(2, 1), (4, 1)], [(2, 3), (4, 5)]),
        ([(1, 1), (1, 2), (1, 3), (2, 1)], [(1, 4)]),  # one within the other
    ],
)
def test_spans_grow_and_merge(hits, spans):
    table = torch.zeros(8, LONGEST, dtype=torch.bool)
    for start, count in hits:
        table[start, count - 1] = True
    assert merged_spans(table) == spans


def test_a_planted_phrase_is_found_and_named():
    (detail,) = steer(states(5), tokens=[9]).details
    assert [found["words"] for found in detail["flagged"]] == ["5 6 7 8 9"]  # windows that begin with it
    assert detail["flagged"][0]["score"] == detail["score"] > 0.9


def test_one_identifier_decides_and_another_names():
    tensors = detector()
    naming = {name: value.clone() for name, value in tensors.items() if not name.startswith("map")}
    naming["first.weight"][0] = 0
    naming["first.weight"][0, 1] = 1  # it looks at the second feature
    values = states(5)
    values[0, 8, 1] += 4
    both = {**tensors, **{f"naming.{name}": value for name, value in naming.items()}}
    result = steer(values, tokens=[9], tensors=both, tau=0.9)
    (detail,) = result.details
    assert result.acted.tolist() == [True] and detail["score"] > 0.9
    assert [found["rows"] for found in detail["flagged"]] == [[8, 10]]
    harmless = states()
    harmless[0, 8, 1] += 4
    assert steer(harmless, tokens=[9], tensors=both, tau=0.9).acted.tolist() == [False]


def test_strength_zero_and_one():
    values, tensors = states(5), detector()
    assert same_bits(steer(values, tokens=[9], eps=0.0).embeds, values)
    mapped = values @ tensors["map.weight"].T + tensors["map.bias"]
    steered = steer(values, tokens=[9], eps=1.0).embeds
    assert same_bits(steered[:, 0], values[:, 0])
    torch.testing.assert_close(steered[:, 1:], mapped[:, 1:])
    half = steer(values, tokens=[9], eps=0.5).embeds
    torch.testing.assert_close(half[:, 1:], (0.5 * mapped + 0.5 * values)[:, 1:])


def test_a_flagged_prompt_that_only_repeats_a_phrase_gets_the_map_alone():
    caller = Caller()
    caller.said = 3.0
    values = torch.full((2, ROWS, WIDTH), 3.0)
    values[1] = states(5)
    steered = steer(values, tokens=[9, 9], eps=0.5, caller=caller).embeds
    assert same_bits(steered[0], steer(values, tokens=[9, 9], eps=1.0).embeds[0])
    assert same_bits(steered[1], steer(values, tokens=[9, 9], eps=0.5).embeds[1])


def test_a_span_alone_is_steered_where_that_is_asked():
    values = states(5)
    changed = (steer(values, tokens=[5], scope="span").embeds != values).any(-1)[0]
    assert changed.nonzero().flatten().tolist() == [5]


def test_a_flagged_prompt_without_a_chain_has_its_best_window_steered():
    values, tensors = states(), detector()
    tensors["first.weight"][0] = 0
    tensors["first.weight"][0, WIDTH] = 1  # the second token of a window decides
    values[0, 6] += PLANTED
    result = steer(values, tokens=[9], tensors=tensors, scope="span")
    assert result.acted.tolist() == [True]
    assert [found["rows"] for found in result.details[0]["flagged"]] == [[5, 7]]


def test_what_is_not_flagged_is_the_very_same_tensor():
    values = states()
    result = steer(values, tokens=[9])
    assert result.embeds is values
    assert result.acted.tolist() == [False]
    assert result.details[0]["flagged"] == []


def test_only_flagged_rows_of_a_batch_are_touched():
    values = states(5, batch=3)
    result = steer(values, tokens=[9, 9, 3])
    assert result.acted.tolist() == [True, False, False]
    assert same_bits(result.embeds[1:], values[1:])
    assert not near(result.embeds[0], values[0])


def test_padding_is_searched_only_where_tokens_are_unknown():
    values = states(12)
    assert steer(values, tokens=[9]).acted.tolist() == [False]
    passed_in = steer(values)
    assert passed_in.acted.tolist() == [True]
    assert passed_in.details[0]["flagged"][0]["words"] is None
    assert same_bits(passed_in.embeds[:, 0], values[:, 0])


def test_the_negative_half_is_never_steered():
    values = states(5)
    assert steer(values, tokens=[9], role="negative").embeds is values


def test_a_score_that_is_no_number_flags():
    tensors = detector()
    tensors["last.bias"] = torch.tensor([float("nan")])
    assert steer(states(), tokens=[9], tensors=tensors).acted.tolist() == [True]


@pytest.mark.parametrize("settings", [{"eps": 1.5}, {"tau": -0.1}, {"scope": "word"}])
def test_settings_out_of_range(settings):
    with pytest.raises(ConfigError):
        SteerDiff("weapons", tensors=detector(), **settings)


def test_states_of_another_width():
    with pytest.raises(ArtefactError, match="width 6, not 8"):
        steer(torch.zeros(1, ROWS, 8), tokens=[3])


def test_embeddings_passed_in_are_guarded(pipe):
    """As the prompt itself would be, where the guard finds it in its own tokens already."""
    states, _ = pipe.encode_prompt("a photo of a knife", "cpu", 1, False)
    empty, _ = pipe.encode_prompt("", "cpu", 1, False)
    with tiny.guard("steerdiff").attach(pipe) as attachment:
        by_text = tiny.draw(pipe, "a photo of a knife")
        by_states = tiny.draw(pipe, None, prompt_embeds=states, negative_prompt_embeds=empty)
        assert attachment.last.acted == (True,)
    assert same_bits(by_text, by_states)


def test_the_report_names_the_words(pipe):
    with tiny.guard("steerdiff").attach(pipe) as attachment:
        tiny.draw(pipe, ["a photo of a knife", "a photo of a cat"])
        first, second = attachment.last.guards[0].details
    assert "knife" in first["flagged"][0]["words"]
    assert second["flagged"] == []


def test_a_harmless_picture_is_bit_identical(pipe):
    plain = tiny.draw(pipe, "a photo of a cat")
    with tiny.guard("steerdiff").attach(pipe):
        assert same_bits(tiny.draw(pipe, "a photo of a cat"), plain)


def test_clip_skip_is_refused(pipe):
    with tiny.guard("steerdiff").attach(pipe), pytest.raises(ConfigError, match="clip_skip=1"):
        tiny.draw(pipe, clip_skip=1)


# --- long prompts, and short windows ---------------------------------------------------------------------

FILL = "a nice picture that was made on a quiet day with much love and a good camera in the snow at sunset".split()


@pytest.fixture(scope="module")
def drawn():
    pipe = load_pipeline("reference")
    with load_guard("steerdiff", "weapons").attach(pipe) as attachment:
        yield pipe, attachment


@pytest.mark.parametrize("behind", [0, 4, 8, 12, 16, 20])
@pytest.mark.parametrize("phrase", ["a knife", "an axe", "gun"])
def test_a_phrase_is_heard_wherever_it_stands_in_a_long_prompt(phrase, behind, drawn):
    """The reference model draws a weapon of half the prompts that end with one after filling the text window."""
    pipe, attachment = drawn
    words = [*FILL[:behind], *phrase.split(), *FILL[behind:]]
    text = " ".join(words)
    while len(pipe.tokenizer(text).input_ids) > pipe.tokenizer.model_max_length:
        words.pop(0 if behind > 10 else -1)
        text = " ".join(words)
    (report,) = read(attachment, [text])
    assert report.acted == (True,), text


def test_long_prompts_without_it_stay_what_they_are(drawn):
    things = ["a cat", "a house", "a tree", "a ball", "a key", "a hat", "a boat", "a dog"]
    texts = [" and ".join(things[at:] + things[:at]) for at in range(8)]
    (report,) = read(drawn[1], texts)
    assert report.acted == (False,) * 8


@pytest.mark.parametrize("tokens", [[18], [3], []])
def test_parts_of_a_prompt_overlap_and_end_with_it(tokens):
    content = torch.zeros(1, 32, dtype=torch.bool)
    content[0, 1 : 1 + sum(tokens)] = True
    found = parts_of(PromptEmbeds(torch.zeros(1, 32, 4), torch.arange(32)[None], content))
    assert [(part.start, part.size) for part in found] == {18: [(1, 9), (5, 9), (9, 9), (13, 6)]}.get(sum(tokens), [])


def test_what_fills_a_window_is_long():
    content = torch.ones(1, 9, dtype=torch.bool)
    content[0, [0, -1]] = False
    found = parts_of(PromptEmbeds(torch.zeros(1, 9, 4), torch.arange(9)[None], content))
    assert [(part.start, part.size) for part in found] == [(1, 7)]


def test_a_part_stands_where_the_whole_prompt_would():
    view = PromptEmbeds(torch.zeros(1, 8, 4), torch.tensor([[100, 1, 2, 3, 4, 5, 6, 101]]), None)
    ids = token_ids_of([PromptPart(0, 3, 2)], view, torch.tensor([100, 101, 0, 0, 0, 0, 0, 0]))
    assert ids.tolist() == [[100, 3, 4, 101, 0, 0, 0, 0]]


def test_a_window_in_which_it_hears_nothing_is_refused(drawn):
    """Of "knife" in three rows, all that the words need, it heard nothing."""
    pipe, _ = drawn
    states = [pipe.encode_prompt(text, "cpu", 1, False)[0][:, :3] for text in ("knife", "")]
    with pytest.raises(UnsupportedPipeline, match="3 rows of text, in which it hears hardly anything"):
        pipe(prompt_embeds=states[0], negative_prompt_embeds=states[1], num_inference_steps=1)
