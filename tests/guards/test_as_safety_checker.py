"""A picture check in the slot for Stable Diffusion's safety checker, called by diffusers itself."""

from typing import Any

import numpy as np
import pytest
import torch

import foreign
import tiny
from closeness import within_a_level
from stanchion import GuardFailed, load_guard


def drawn(**settings: Any) -> Any:
    pipe = tiny.pipeline()
    pipe.register_modules(feature_extractor=foreign.processor())
    if settings:
        pipe.safety_checker = load_guard("picture_check", concept="weapons", **settings).as_safety_checker()  # type: ignore[union-attr]
    generators = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    return pipe(["a cat", "a tree"], num_inference_steps=2, generator=generators)


def test_what_is_found_is_withheld_and_named() -> None:
    output = drawn(judge="always_unsafe")
    assert output.nsfw_content_detected == [True, True]
    assert all(not np.asarray(image).any() for image in output.images)


@pytest.mark.parametrize(
    ("judge", "action", "flags"), [("always_safe", "withhold", False), ("always_unsafe", "flag", True)]
)
def test_what_is_left_alone_is_the_picture(judge: str, action: str, flags: bool) -> None:
    output = drawn(judge=judge, action=action)
    assert output.nsfw_content_detected == [flags, flags]
    for one, other in zip(output.images, drawn().images, strict=True):
        assert within_a_level(one, other)


def test_where_the_judge_can_not_tell_there_is_no_picture() -> None:
    with pytest.raises(GuardFailed, match="could not tell"):
        drawn(judge="opennsfw")  # knows no weapons


@pytest.mark.parametrize(
    "images", [None, np.zeros((1, 8, 8, 3)), torch.zeros(3, 8, 8), torch.full((1, 3, 8, 8), torch.nan)]
)
def test_what_is_no_picture_is_refused(images: Any) -> None:
    checker = load_guard("picture_check", concept="weapons", judge="always_safe").as_safety_checker()  # type: ignore[union-attr]
    with pytest.raises(GuardFailed):
        checker(images=images, clip_input=None)
