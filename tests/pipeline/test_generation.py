"""A picture counts as drawn where there is one to look at; one that fails costs no other."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

import tiny
from closeness import within_a_level
from stanchion import TraSCE
from stanchion.benchmark.images.attempt_sheet import verdict_line
from stanchion.benchmark.run.generation import make_attempts
from stanchion.benchmark.run.image_generator import ImageGenerator
from stanchion.benchmark.spec.variant import Variant
from stanchion.errors import GuardFailed, UnsupportedPipeline
from stanchion.judges import load_judge
from stanchion.pipeline.generation import outcome
from stanchion.targets.deployment import Deployment
from stanchion.types import Adversarial, Drawn, Guided, Prompt, Step

WEAPONS = tiny.weapons()
TEXTS = ["a knife", "a cat", "a bad dog", "a frog"]
PROMPTS = [Prompt(text, place, str(place)) for place, text in enumerate(TEXTS)]
NONE, TRASCE = Variant("none"), Variant("trasce")
SEEN = Image.effect_noise((16, 16), 90).convert("RGB")
FLAT = Image.new("RGB", (16, 16))


def given(*images: Any, **flags: Any) -> SimpleNamespace:
    return SimpleNamespace(images=list(images), **flags)


@pytest.mark.parametrize("flag", ["nsfw_content_detected", "nsfw_detected"])
def test_what_the_models_own_checker_withheld_was_not_drawn(flag: str) -> None:
    withheld, drawn = outcome(given(SEEN, SEEN, **{flag: [True, False]}), [{"x": 3}, {}], seconds=1.0)
    assert (withheld.image, withheld.withheld, withheld.acted) == (None, True, {"x": 3})
    assert "safety checker" in withheld.error
    assert (drawn.image, drawn.withheld, drawn.error) == (SEEN, False, "")


def test_one_colour_is_no_picture_unless_a_guard_made_it() -> None:
    alone, refused = outcome(given(FLAT, FLAT, nsfw_content_detected=None), [{"x": 0}, {"moderator": 1}], seconds=1.0)
    assert alone.withheld and "one colour" in alone.error
    assert refused.image is FLAT


def test_another_number_of_pictures_is_refused() -> None:
    with pytest.raises(UnsupportedPipeline, match="1 pictures for 2 prompts"):
        outcome(given(SEEN), [{}, {}], seconds=1.0)


def checked_pipeline() -> Any:
    """A pipeline with diffusers' own safety checker, which flags everything."""
    from diffusers import StableDiffusionPipeline

    import foreign

    parts = {**tiny.parts(), "safety_checker": foreign.safety_checker(-2.0), "requires_safety_checker": True}
    pipe = StableDiffusionPipeline(**{**parts, "feature_extractor": foreign.processor()})
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.parametrize("variant", [NONE, TRASCE], ids=["none", "trasce"])
def test_a_model_that_blanks_everything_is_unscored_and_says_so(variant: Variant) -> None:
    made = make_attempts(
        ImageGenerator(checked_pipeline()),
        load_judge("always_safe"),
        PROMPTS[:2],
        variant,
        WEAPONS,
        steps=2,
        guidance_scale=4.0,
        keep=lambda prompt, image: "kept",
    )
    assert [(one.image, one.verdict.unsafe) for one in made] == [(None, None)] * 2
    assert "safety checker" in verdict_line(made[0])


def test_under_attack_it_is_unscored_too() -> None:
    drawn = Deployment(checked_pipeline(), steps=2).draw([Adversarial(text="a knife")], [0])
    assert drawn[0].withheld and drawn[0].image is None


def by_generator(pipe: Any, texts: list[str]) -> list[Drawn]:
    prompts = [PROMPTS[TEXTS.index(text)] for text in texts]
    generator = ImageGenerator(pipe)
    drawn = generator.draw(prompts, TRASCE, WEAPONS, steps=2, guidance_scale=4.0)
    generator.release()
    return drawn


def by_deployment(pipe: Any, texts: list[str]) -> list[Drawn]:
    with TraSCE(WEAPONS).attach(pipe):
        seeds = [TEXTS.index(text) for text in texts]
        return Deployment(pipe, steps=2).draw([Adversarial(text=text) for text in texts], seeds)


@pytest.mark.parametrize("draw", [by_generator, by_deployment])
def test_one_failing_picture_costs_one_picture(
    draw: Callable[[Any, list[str]], list[Drawn]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard breaks on one prompt of four, and by that on every batch that holds it."""
    stock = TraSCE.on_step
    bad: list[torch.Tensor] = []

    def on_step(self: TraSCE, step: Step, state: Any) -> Guided:
        if any(torch.allclose(row, one, atol=0.02) for row in step.prompt.embeds for one in bad):
            raise ZeroDivisionError("bad dog")
        return stock(self, step, state)

    monkeypatch.setattr(TraSCE, "on_step", on_step)
    pipe = tiny.pipeline()
    bad.append(pipe.encode_prompt(TEXTS[2], "cpu", 1, False)[0][0].detach())
    together = draw(pipe, TEXTS)
    assert [one.image is None for one in together] == [False, False, True, False]
    assert "ZeroDivisionError" in together[2].error and together[2].error.startswith(GuardFailed.__name__)
    for text, one in zip(TEXTS, together, strict=True):
        (alone,) = draw(pipe, [text])
        assert (alone.image is None) == (one.image is None)
        if alone.image and one.image:
            assert within_a_level(alone.image, one.image)


def test_a_guard_that_can_not_stand_on_the_model_leaves_rows_that_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, pipeline: Any) -> None:
        raise UnsupportedPipeline("no seam knows it.")

    monkeypatch.setattr("stanchion.guards.stack.GuardStack.attach", refuse)
    generator = ImageGenerator(tiny.pipeline())
    drawn = generator.draw(PROMPTS, TRASCE, WEAPONS, steps=2, guidance_scale=4.0)
    assert [one.error for one in drawn] == ["UnsupportedPipeline: no seam knows it."] * 4
    assert all(one.image for one in generator.draw(PROMPTS, NONE, WEAPONS, steps=2, guidance_scale=4.0))
