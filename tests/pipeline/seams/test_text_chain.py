"""Several text guards on one prompt: each holds for as long as it says, whatever the others do."""

from __future__ import annotations

import pytest
import torch

import tiny
from closeness import near, same_bits
from small_guards import Half
from stanchion import GuardStack
from stanchion.types import Steered


class Idle(Half):
    """Has nothing to say, and says so for the whole schedule, as the default is."""

    name = "idle"

    def steer(self, embeds, state):
        self.seen.append(embeds)
        return Steered(embeds.embeds, torch.zeros(len(embeds.embeds), dtype=torch.bool))


class Rows(Half):
    """Halves each prompt of a batch until its own moment."""

    name = "rows"
    ends = (0.25, 0.75)

    def steer(self, embeds, state):
        answer = super().steer(embeds, state)
        return Steered(answer.embeds, answer.acted, torch.tensor(self.ends), ({"n": 0}, {"n": 1}))


class Loud(Half):
    """Acts on prompts that are louder than a limit."""

    name = "loud"
    limit = 0.0

    def steer(self, embeds, state):
        self.seen.append(embeds)
        loud = embeds.embeds.flatten(1).norm(dim=1) > self.limit
        details = tuple({"loud": flag} for flag in loud.tolist())
        return Steered(torch.where(loud[:, None, None], embeds.embeds * 0.1, embeds.embeds), loud, 1.0, details)


def drawn(pipe, *guards, prompt="a cat", **options):
    with GuardStack(*guards).attach(pipe) as attachment:
        return tiny.draw(pipe, prompt, **{"steps": 4, **options}), attachment.last


def test_a_guard_with_nothing_to_say_is_in_nobodys_way(pipe):
    alone, _ = drawn(pipe, Half(until=0.5))
    assert not near(alone, drawn(pipe, Half(until=1.0))[0])
    assert same_bits(drawn(pipe, Half(until=0.5), Idle())[0], alone)
    assert same_bits(drawn(pipe, Idle(), Half(until=0.5))[0], alone)


@pytest.mark.parametrize("order", [(0.25, 0.75), (0.75, 0.25)])
def test_each_guard_holds_until_its_own_moment(order, pipe):
    """Four steps: both, one, one, none. What each step reads is what the guards make that are active in it."""
    read = []
    pipe.unet.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(kwargs["encoder_hidden_states"].chunk(2)[1]), with_kwargs=True
    )
    plain = pipe.encode_prompt("a cat", "cpu", 1, False)[0]
    drawn(pipe, *(Half(until=until) for until in order))
    for states, factor in zip(read, (0.25, 0.5, 0.5, 1.0), strict=True):
        torch.testing.assert_close(states, plain * factor)


def test_a_guard_is_asked_once_for_the_same_states(pipe):
    first, second = Half(until=1.0), Half(until=0.5)
    drawn(pipe, first, second)
    assert [len(guard.seen) for guard in (first, second)] == [2, 2]  # the prompt and the negative prompt


def test_a_guard_sees_what_is_left_where_the_one_before_it_ended(pipe):
    plain = pipe.encode_prompt("a cat", "cpu", 1, False)[0]
    second = Idle()
    drawn(pipe, Half(until=0.5), second)
    seen = [view.embeds for view in second.seen if view.role == "prompt"]
    assert len(seen) == 2
    torch.testing.assert_close(seen[0], plain * 0.5)
    torch.testing.assert_close(seen[1], plain)


def test_prompts_of_a_batch_end_each_at_its_own_moment(pipe):
    prompts = ["a cat", "a dog"]
    together, _ = drawn(pipe, Rows(), Idle(), prompt=prompts)
    singles = [drawn(pipe, Half(until=end), prompt=prompt)[0] for prompt, end in zip(prompts, Rows.ends, strict=True)]
    assert near(together[:1], singles[0])
    assert not near(together[1:], singles[1])  # of another seed
    alone, _ = drawn(pipe, Rows(), prompt=prompts)
    assert same_bits(together, alone)


def test_what_acts_only_later_is_reported(pipe):
    """Loud hears nothing while Half is on, and the whole prompt when it has ended."""
    norm = pipe.encode_prompt("a cat", "cpu", 1, False)[0].norm().item()
    _, report = drawn(pipe, Half(until=0.5), Loud(limit=0.7 * norm))
    assert [guard.acted for guard in report.guards] == [(True,), (True,)]
    assert report.guards[1].details == ({"loud": True},)
    _, report = drawn(pipe, Half(until=1.0), Loud(limit=0.7 * norm))
    assert [guard.acted for guard in report.guards] == [(True,), (False,)]
    assert report.guards[1].details == ({"loud": False},)


def test_acted_means_that_a_step_read_it(pipe):
    assert drawn(pipe, Half(until=0.0))[1].guards[0].acted == (False,)
    assert drawn(pipe, Half(until=0.1))[1].guards[0].acted == (True,)


def test_details_are_of_each_prompt_once(pipe):
    _, report = drawn(pipe, Rows(), Idle(), prompt=["a cat", "a dog"])
    assert report.guards[0].details == ({"n": 0}, {"n": 1})
    assert report.guards[0].active_steps == (1, 1)
