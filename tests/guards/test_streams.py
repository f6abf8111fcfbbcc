"""Text guards where several text encoders read a prompt, or one that is no CLIP: each by its own states."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
import pytest
import torch

import tiny_families
from closeness import near, same_bits
from stanchion import SAFREE, ArtefactError, ConfigError, SteerDiff, UnsupportedPipeline, load_guard
from stanchion.guards.triggers import TextScore
from stanchion.learning.workers import ALONE
from stanchion.pipeline.families import family_of
from stanchion.pipeline.model.encoding import Encoding
from stanchion.pipeline.model.text_bench import TextBench
from stanchion.pipeline.model.text_streams import apart, together
from stanchion.pipeline.phrase_cache import PhraseCache
from stanchion.streams import TextStream
from stanchion.training.recipe import train_guard
from stanchion.training.recipes.steerdiff._phrases import Framed, Pair
from stanchion.training.recipes.steerdiff._spoken import Spoken, _places
from stanchion.training.recipes.steerdiff._token_windows import carrying
from stanchion.types import PromptEmbeds
from tiny_families.guards import KNIVES, guard

FLUX, SD3, CHROMA = "FluxPipeline", "StableDiffusion3Pipeline", "ChromaPipeline"
T5 = [FLUX, SD3, CHROMA, "AuraFlowPipeline", "PixArtSigmaPipeline", "WanPipeline"]
QWEN, KLEIN, SANA = "QwenImagePipeline", "Flux2KleinPipeline", "SanaPipeline"
TOLD = {"complex_human_instruction": ["Do it well.", "User Prompt: "]}
CHAT = [(QWEN, {}), (KLEIN, {}), ("Lumina2Pipeline", {}), (SANA, {}), (SANA, TOLD)]
ALL = [*((kind, {}) for kind in T5), *CHAT]
QUICK = {"preset": "tiny", "safe": 12, "context": 12, "epochs": 1, "seed": 3, "rows": 32}
SAID = ["a photo of a knife", "</s><pad> a knife", ""]


def given(kind, options):
    """Arguments of a call on which it depends how texts are encoded."""
    own = {"max_sequence_length": 32} if kind in T5 else tiny_families.TINY[kind].options
    return family_of(tiny_families.pipeline(kind)).options({**own, **options})


def call(kind, options=MappingProxyType({})):
    pipe = tiny_families.pipeline(kind)
    return Encoding(pipe, family_of(pipe), given(kind, options), PhraseCache())


@pytest.mark.parametrize(("kind", "options"), ALL)
def test_ids_alone_are_read_as_the_pipeline_reads_a_prompt(kind, options):
    asked = call(kind, options)
    for view in apart(asked.read(SAID)):
        torch.testing.assert_close(asked.read_ids(view.token_ids, view.streams[0]), view.embeds, atol=1e-5, rtol=0)
        assert "knife" in asked.words(view.token_ids[0][view.content[0]], view.streams[0])


@pytest.mark.parametrize(("kind", "options"), ALL[:-1])
def test_a_phrase_is_found_where_its_tokens_are(kind, options):
    for bench in TextBench(tiny_families.pipeline(kind), **given(kind, options)).streams:
        (place,) = _places(bench, [Framed(Pair("a knife", "a"), "a photo of ", ", a dog")])
        view = bench.read(["a photo of a knife, a dog"])
        words = view.token_ids[0, place.start : place.end].tolist()
        own = getattr(bench.pipe, bench.stream.tokenizer)("a knife", add_special_tokens=False).input_ids
        assert words[-len(own) :] == own and len(words) - len(own) <= (kind not in T5)  # of bytes, one is the space
        assert place.content == bench.stream.first + int(view.content.sum()) and place.counterpart >= 1


@pytest.mark.parametrize(("kind", "before"), [(FLUX, False), (KLEIN, True)])
def test_what_stands_before_a_phrase_is_safe_where_it_has_not_read_it(kind, before):
    (bench,) = TextBench(tiny_families.pipeline(kind), **given(kind, {})).streams
    spoken = Spoken.of(bench, [Framed(Pair("a knife", "a cat"), "a photo of ")], ["a cat"], ALONE)
    windows = carrying(spoken, 9, 0, np.random.default_rng(0))
    own = windows.places[:, 0] == 0
    assert bool((windows.unsafe[own] == 0).any()) is before and windows.unsafe[own].any()
    assert int((windows.places[:, 1] + windows.places[:, 2]).max()) <= spoken.unsafe.shape[1]


def test_streams_are_taken_apart_and_put_together_again():
    streams = (TextStream("one", (0, 3), (0, 2)), TextStream("other", (0, 3), (2, 4)), TextStream("t5", (3, None)))
    prompt = PromptEmbeds(torch.randn(2, 8, 6), torch.arange(16).view(2, 8), streams=streams)
    views = apart(prompt)
    assert [tuple(view.embeds.shape) for view in views] == [(2, 3, 2), (2, 3, 2), (2, 5, 6)]
    assert views[2].token_ids[0].tolist() == [3, 4, 5, 6, 7]
    whole = together(prompt, [view.embeds + place for place, view in enumerate(views)])
    assert same_bits(whole[:, :3, :2], prompt.embeds[:, :3, :2]) and same_bits(
        whole[:, :3, 4:], prompt.embeds[:, :3, 4:]
    )
    assert same_bits(whole[:, :3, 2:4], prompt.embeds[:, :3, 2:4] + 1)
    assert same_bits(whole[:, 3:], prompt.embeds[:, 3:] + 2)


def test_safree_works_on_each_text_encoder_by_itself():
    asked, safree = call(SD3), SAFREE(KNIVES, filter=False)
    prompt = asked.read(["a knife on the table"])
    result = safree.steer(prompt, safree.begin(asked))
    steered = replace_embeds(prompt, result.embeds)
    for before, after, rows in zip(apart(prompt), apart(steered), result.details[0]["rows"], strict=True):
        changed = (before.embeds != after.embeds).any(-1)[0].nonzero().flatten().tolist()
        whole = list(range(before.embeds.shape[1]))
        assert changed == ([] if not rows else whole[rows[0] :] if before.streams[0].causal else whole)
    assert sum(map(bool, result.details[0]["rows"])) >= 2 and result.details[0]["triggers"]


def replace_embeds(prompt, embeds):
    return PromptEmbeds(embeds, prompt.token_ids, prompt.content, streams=prompt.streams)


def test_t5_says_a_with_a_space_before_it():
    """As the published T5 does: the neutral word is the token that says it."""
    asked = call(FLUX)
    space, a = asked.pipe.tokenizer_2.convert_tokens_to_ids(["\u2581", "a"])
    neutral = asked.read(["a"])
    ids = torch.tensor([[space, a, *[1] * 30]])
    split = PromptEmbeds(neutral.embeds, ids, torch.arange(32)[None] < 2, streams=neutral.streams)
    known = SAFREE(KNIVES)._known(asked, split, *[asked.read(["a knife"])] * 2)
    assert known.neutral.tolist() == [a]


@pytest.mark.parametrize(
    ("kind", "names", "rows"),
    [(FLUX, ["t5"], 32), (SD3, ["clip_l", "clip_g", "t5"], 32), (QWEN, ["qwen_image"], 200)],
)
def test_steerdiff_is_trained_on_each_stream_and_says_so(kind, names, rows, tmp_path):
    pipe = tiny_families.pipeline(kind)
    train_guard("steerdiff", pipe, "weapons", tmp_path, **{**QUICK, "rows": rows})
    trained = load_guard(tmp_path)
    assert list(trained.base) == names and {name.split(".")[0] for name in trained.tensors} == set(names)
    with trained.attach(pipe) as attachment:
        tiny_families.draw(pipe, ["a photo of a knife"])
        assert attachment.last.guards[0].details[0]["score"] >= 0


def test_what_is_unsafe_in_one_stream_is_steered_in_all():
    pipe = tiny_families.pipeline(SD3)
    wary = guard("steerdiff", pipe)
    calm = {name: -value for name, value in wary.tensors.items() if name.endswith("last.bias") and name[:2] != "t5"}
    wary = SteerDiff(KNIVES, tensors=wary.tensors | calm, base=wary.base)
    asked = call(SD3)
    prompt = asked.read(["a knife"])
    result = wary.steer(prompt, wary.begin(asked))
    assert result.acted.tolist() == [True]
    for before, after in zip(apart(prompt), apart(replace_embeds(prompt, result.embeds)), strict=True):
        assert not near(before.embeds, after.embeds)
    assert {found["stream"] for found in result.details[0]["flagged"]} == {"clip_l", "clip_g", "t5"}


def test_a_guard_of_other_streams_is_refused():
    flux, sd3, chroma = map(tiny_families.pipeline, (FLUX, SD3, CHROMA))
    of_t5 = guard("steerdiff", flux)
    with pytest.raises(ArtefactError, match=r"trained for t5, .* read by clip_l and clip_g and t5.*cover='partial'"):
        of_t5.attach(sd3)
    with pytest.raises(ArtefactError, match=r"trained for t5, .* read by t5_masked: train it"):
        of_t5.attach(chroma, cover="partial")
    with pytest.raises(ArtefactError, match="trained for clip_l and clip_g and t5"):
        guard("steerdiff", sd3).attach(flux)
    plain = tiny_families.draw(sd3)
    with of_t5.attach(sd3, cover="partial") as attachment:  # one T5 in both
        assert not near(tiny_families.draw(sd3), plain)
        assert attachment.last.acted == (True, True)


def test_a_text_score_hears_each_text_encoder():
    asked = call(SD3)
    score = TextScore(asked, KNIVES)
    loud, quiet = score.of(asked.read(["a knife", "a cat"]).embeds).tolist()
    assert loud == pytest.approx(1.0) and quiet < loud


def test_rows_belong_to_pipelines_that_let_one_choose(tmp_path, pipe):
    with pytest.raises(ConfigError, match="rows"):
        train_guard("steerdiff", pipe, "weapons", tmp_path, **QUICK)


def test_what_the_denoiser_norms_is_fitted_and_mapped_by_its_direction():
    """The guard's answer does not hang on a state's length, and turns the state."""
    asked, pipe = call(QWEN), tiny_families.pipeline(QWEN)
    wary = guard("steerdiff", pipe)
    prompt = asked.read(["a knife"])
    result, longer = (
        wary.steer(replace_embeds(prompt, prompt.embeds * length), wary.begin(asked)).embeds for length in (1, 4)
    )
    torch.testing.assert_close(longer, result * 4)
    first = prompt.streams[0].first
    assert same_bits(result[:, :first], prompt.embeds[:, :first])
    turned = torch.cosine_similarity(result, prompt.embeds, dim=-1)[0, first:]
    assert (turned < 0.9).all()


def test_padding_that_is_no_state_stays_none():
    asked = call(QWEN)
    wary = guard("steerdiff", asked.pipe)
    prompt = asked.read(["a knife", "a knife on the table"])
    steered = wary.steer(prompt, wary.begin(asked)).embeds
    empty = prompt.embeds.eq(0).all(-1)
    assert empty.any() and not steered[empty].any() and not near(steered[~empty], prompt.embeds[~empty])


@pytest.mark.parametrize("name", ["safree", "steerdiff"])
def test_an_instruction_of_the_callers_is_read_by_no_text_guard(name):
    pipe = tiny_families.pipeline("Lumina2Pipeline")
    with guard(name, pipe).attach(pipe), pytest.raises(UnsupportedPipeline, match="system_prompt is given"):
        tiny_families.draw(pipe, system_prompt="draw a knife")


def test_a_prompt_behind_its_padding_is_found_but_not_guarded():
    pipe = tiny_families.fresh(KLEIN)
    pipe.tokenizer.padding_side = "left"
    states = pipe.encode_prompt(["a knife"], **given(KLEIN, {}))[0]
    ids, content = family_of(pipe).tokens(pipe, ["a knife"], states)
    assert pipe.tokenizer.decode(ids[0][content[0]]) == "a knife"
    inputs = pipe.tokenizer.apply_chat_template([{"role": "user", "content": "a knife"}], add_generation_prompt=True)
    assert ids[0, -len(inputs["input_ids"]) :].tolist() == inputs["input_ids"]
    for name in ("safree", "steerdiff"):
        with pytest.raises(UnsupportedPipeline, match="pads from the left"):
            guard(name, tiny_families.pipeline(KLEIN)).attach(pipe)


def test_trasce_needs_no_words():
    pipe = tiny_families.pipeline("ZImagePipeline")
    with guard("trasce", pipe).attach(pipe) as attachment:
        tiny_families.draw(pipe)
    assert attachment.last.acted == (True, True)
