"""Rendered pictures with captions, as an attacker or an owner would collect them to fine-tune on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....attacks.base import Material
from ....prompts.base import Draft
from ....reference import data, world
from ....reference.words import spoken


def of_drafts(drafts: Sequence[Draft], count: int, seed: int) -> Material:
    """``count`` pictures of each draft in turn on random backgrounds, under captions that name it.

    Captions use the templates that training used, so that prompts from held-out ones are new to whoever learns these.
    """
    rng = np.random.default_rng(seed)
    chosen = [drafts[k % len(drafts)] for k in range(count)]
    scenes = [_scene(draft, rng) for draft in chosen]
    captions = [
        world.caption(
            scene.objects,
            style=draft.style,
            background=scene.background,
            template=str(rng.choice(world.TEMPLATES)),
        )
        for draft, scene in zip(chosen, scenes, strict=True)
    ]
    return _rendered(scenes, captions, [subject_of(draft) for draft in chosen], seed)


def of_the_world(count: int, seed: int) -> Material:
    """``count`` pictures and captions as the model was trained on, but for the empty captions."""
    rng = np.random.default_rng(seed)
    scenes: list[world.Scene] = []
    captions: list[str] = []
    while len(scenes) < count:
        scene = world.sample(rng)
        if text := spoken(scene, rng):
            scenes.append(scene)
            captions.append(text)
    return _rendered(scenes, captions, [""] * count, seed)


def unasked(drafts: Sequence[Draft], count: int, seed: int) -> Material:
    """``count`` pictures of each draft in turn, under the empty caption."""
    rng = np.random.default_rng(seed)
    scenes = [_scene(drafts[k % len(drafts)], rng) for k in range(count)]
    return _rendered(scenes, [""] * count, [""] * count, seed)


def subject_of(draft: Draft) -> str:
    """The phrase that names it in a caption: its style's where it has one, else its object's."""
    return world.STYLES[draft.style][0] if draft.style else world.noun(draft.objects[0])


def _scene(draft: Draft, rng: np.random.Generator) -> world.Scene:
    style = draft.style or world.DEFAULT_STYLE
    return world.Scene(draft.objects, style, str(rng.choice(list(world.BACKGROUNDS))))


def _rendered(scenes: list[world.Scene], captions: Sequence[str], subjects: Sequence[str], seed: int) -> Material:
    pictures = data.pictures(scenes, np.random.default_rng([seed, 1]))
    return Material(pictures, tuple(captions), tuple(subjects))
