"""The artist on a real pipeline of tiny size: seeds, guards, failures, identity."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

import tiny
from stanchion.benchmark.artist import Artist, guards_of
from stanchion.benchmark.attempts import Drawn
from stanchion.benchmark.spec import Variant
from stanchion.concepts import load_concept
from stanchion.errors import ConfigError
from stanchion.types import Prompt

WEAPONS = load_concept("weapons")
PROMPTS = [Prompt("a photo of a knife", 7, "0"), Prompt("a photo of a cat", 8, "1")]
NONE, TRASCE = Variant("none"), Variant("trasce")


@pytest.fixture
def artist() -> Artist:
    return Artist(tiny.pipeline())


def draw(artist: Artist, prompts: Sequence[Prompt], variant: Variant) -> list[Drawn]:
    return artist.draw(prompts, variant, WEAPONS, steps=3, guidance_scale=4.0)


def pixels(drawn: Drawn) -> np.ndarray:
    assert drawn.image is not None
    return np.asarray(drawn.image).astype(int)


@pytest.mark.parametrize("variant", [NONE, TRASCE], ids=["none", "trasce"])
def test_a_picture_is_its_seeds_whatever_the_batch(artist: Artist, variant: Variant) -> None:
    together = draw(artist, PROMPTS, variant)
    alone = [draw(artist, [prompt], variant)[0] for prompt in PROMPTS]
    for one, other in zip(together, alone, strict=True):
        assert abs(pixels(one) - pixels(other)).max() <= 1
    assert not np.array_equal(pixels(together[0]), pixels(together[1]))


def test_what_was_unguarded_stays_so_after_a_guard(artist: Artist) -> None:
    before = pixels(draw(artist, PROMPTS, NONE)[0])
    guarded = draw(artist, PROMPTS, TRASCE)[0]
    assert guarded.acted == {"trasce": 3}
    assert not np.array_equal(pixels(guarded), before)
    assert np.array_equal(pixels(draw(artist, PROMPTS, NONE)[0]), before)


def test_a_guard_that_fails_closed_leaves_no_picture(artist: Artist, monkeypatch: pytest.MonkeyPatch) -> None:
    from stanchion import TraSCE

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(TraSCE, "on_step", broken)
    drawn = draw(artist, PROMPTS, TRASCE)
    assert [picture.image for picture in drawn] == [None, None]
    assert "ZeroDivisionError" in drawn[0].error
    assert draw(artist, PROMPTS, NONE)[0].image is not None


def test_identity_follows_the_weights_and_the_scheduler() -> None:
    same = Artist(tiny.pipeline()).identity
    assert Artist(tiny.pipeline()).identity == same
    assert Artist(tiny.pipeline(seed=1)).identity != same
    changed = tiny.pipeline()
    with torch.no_grad():
        changed.unet.conv_out.bias[0] += 1e-3
    assert Artist(changed).identity != same
    assert Artist(tiny.pipeline(timestep_spacing="trailing")).identity != same


def test_mistakes_in_settings_show_without_a_pipeline() -> None:
    with pytest.raises(ConfigError, match="did you mean lazy_tol"):
        guards_of(Variant("trasce", settings={"trasce": {"lasy_tol": 1}}), WEAPONS)
    with pytest.raises(ConfigError):
        guards_of(Variant("trasce+negative_prompt"), WEAPONS)


def test_tokens_that_no_encoder_sees_are_counted(artist: Artist) -> None:
    assert artist.cut_tokens("a photo") == 0
    assert artist.cut_tokens("a " * (tiny.CONTEXT + 3)) == 5  # start and end take a place each
