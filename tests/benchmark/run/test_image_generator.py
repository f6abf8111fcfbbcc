"""The generator on a real pipeline of tiny size: seeds, guards, failures, identity."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

import tiny
import tiny_families
from closeness import same_bits, within_a_level
from stanchion.benchmark.run.image_generator import ImageGenerator, guards_of, init_image
from stanchion.benchmark.spec.variant import Variant
from stanchion.errors import ConfigError
from stanchion.guards.stack import GuardStack
from stanchion.types import Drawn, Prompt, Start

WEAPONS = tiny.weapons()
PROMPTS = [Prompt("a photo of a knife", 7, "0"), Prompt("a photo of a cat", 8, "1")]
NONE, TRASCE = Variant("none"), Variant("trasce", settings={"trasce": {"form": "faithful"}})


@pytest.fixture
def generator() -> ImageGenerator:
    return ImageGenerator(tiny.pipeline())


def draw(generator: ImageGenerator, prompts: Sequence[Prompt], variant: Variant) -> list[Drawn]:
    return generator.draw(prompts, variant, WEAPONS, steps=3, guidance_scale=4.0)


def pixels(drawn: Drawn) -> np.ndarray:
    assert drawn.image is not None
    return np.asarray(drawn.image).astype(int)


@pytest.mark.parametrize("variant", [NONE, TRASCE], ids=["none", "trasce"])
def test_a_picture_is_its_seeds_whatever_the_batch(generator: ImageGenerator, variant: Variant) -> None:
    together = draw(generator, PROMPTS, variant)
    alone = [draw(generator, [prompt], variant)[0] for prompt in PROMPTS]
    for one, other in zip(together, alone, strict=True):
        assert within_a_level(pixels(one), pixels(other))
    assert not within_a_level(pixels(together[0]), pixels(together[1]))


def test_what_was_unguarded_stays_so_after_a_guard(generator: ImageGenerator) -> None:
    before = pixels(draw(generator, PROMPTS, NONE)[0])
    guarded = draw(generator, PROMPTS, TRASCE)[0]
    assert guarded.acted == {"trasce": 3}
    assert not within_a_level(pixels(guarded), before)
    assert same_bits(pixels(draw(generator, PROMPTS, NONE)[0]), before)


def test_a_guard_that_fails_closed_leaves_no_picture(
    generator: ImageGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stanchion import TraSCE

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(TraSCE, "on_step", broken)
    drawn = draw(generator, PROMPTS, TRASCE)
    assert [picture.image for picture in drawn] == [None, None]
    assert "ZeroDivisionError" in drawn[0].error
    assert draw(generator, PROMPTS, NONE)[0].image is not None


def test_identity_follows_the_weights_and_the_scheduler() -> None:
    same = ImageGenerator(tiny.pipeline()).identity
    assert ImageGenerator(tiny.pipeline()).identity == same
    assert ImageGenerator(tiny.pipeline(seed=1)).identity != same
    changed = tiny.pipeline()
    with torch.no_grad():
        changed.unet.conv_out.bias[0] += 1e-3
    assert ImageGenerator(changed).identity != same
    assert ImageGenerator(tiny.pipeline(timestep_spacing="trailing")).identity != same
    other = tiny.pipeline()  # as another process would find it
    unsaid = other.scheduler.config["_use_default_values"]
    other.scheduler.register_to_config(_use_default_values=sorted(unsaid, reverse=True))
    assert len(unsaid) > 1 and ImageGenerator(other).identity == same


def test_identity_follows_every_part_of_another_family() -> None:
    pipe = tiny_families.fresh("StableDiffusionXLPipeline")
    seen = [ImageGenerator(pipe).identity]
    with torch.no_grad():
        for part in (pipe.text_encoder_2, pipe.unet, pipe.text_encoder):
            next(part.parameters()).add_(1e-3)
            seen.append(ImageGenerator(pipe).identity)
    assert len(set(seen)) == 4
    assert ImageGenerator(tiny_families.fresh("FluxPipeline")).identity.startswith("FluxPipeline ")


def test_mistakes_in_settings_show_without_a_pipeline() -> None:
    with pytest.raises(ConfigError, match="did you mean lazy_tol"):
        guards_of(Variant("trasce", settings={"trasce": {"lasy_tol": 1}}), WEAPONS)
    with pytest.raises(ConfigError):
        guards_of(Variant("trasce+negative_prompt"), WEAPONS)


def test_tokens_that_no_encoder_sees_are_counted(generator: ImageGenerator) -> None:
    assert generator.cut_tokens("a photo") == 0
    assert generator.cut_tokens("a " * (tiny.CONTEXT + 3)) == 5  # start and end take a place each


def begun(strength: float) -> list[Prompt]:
    return [replace(prompt, start=Start(("knife",), strength)) for prompt in PROMPTS]


def test_the_start_is_the_worlds_own_picture_from_the_prompts_seed() -> None:
    prompt = begun(0.5)[0]
    assert prompt.start is not None
    picture = init_image(prompt, prompt.start)
    assert picture.size == (48, 48)
    assert init_image(prompt, prompt.start).tobytes() == picture.tobytes()
    assert init_image(replace(prompt, seed=8), prompt.start).tobytes() != picture.tobytes()
    assert init_image(prompt, replace(prompt.start, style="ink")).tobytes() != picture.tobytes()


def test_image_to_image_runs_its_share_of_the_steps_under_the_guard(generator: ImageGenerator) -> None:
    def drawn(strength: float, variant: Variant) -> list[Drawn]:
        return generator.draw(begun(strength), variant, WEAPONS, steps=4, guidance_scale=4.0)

    free = drawn(0.5, NONE)
    for strength, steps in ((0.5, 2), (0.75, 3)):
        assert [picture.acted for picture in drawn(strength, TRASCE)] == [{"trasce": steps}] * 2
    assert same_bits(pixels(drawn(0.5, NONE)[0]), pixels(free[0]))
    assert not within_a_level(pixels(drawn(0.5, TRASCE)[0]), pixels(free[0]))
    assert not within_a_level(pixels(drawn(0.75, NONE)[0]), pixels(free[0]))
    alone = generator.draw(begun(0.5)[:1], NONE, WEAPONS, steps=4, guidance_scale=4.0)
    assert within_a_level(pixels(alone[0]), pixels(free[0]))


def test_text_and_image_take_turns_with_one_guard(generator: ImageGenerator) -> None:
    text = pixels(draw(generator, PROMPTS, TRASCE)[0])
    image = pixels(draw(generator, begun(0.7), TRASCE)[0])
    assert same_bits(pixels(draw(generator, PROMPTS, TRASCE)[0]), text)
    assert same_bits(pixels(draw(generator, begun(0.7), TRASCE)[0]), image)
    generator.release()
    assert type(generator.pipeline).__mro__[0] is type(tiny.pipeline())


def test_a_guard_stays_on_between_batches(generator: ImageGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    put_on = []
    stock = GuardStack.attach
    monkeypatch.setattr(GuardStack, "attach", lambda self, pipe: put_on.append(self.name) or stock(self, pipe))
    for variant in (NONE, TRASCE, TRASCE, TRASCE, NONE, Variant("negative_prompt")):
        draw(generator, PROMPTS[:1], variant)
    assert put_on == ["trasce", "negative_prompt"]
