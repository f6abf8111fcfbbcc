"""A stack that is trained for a concept: every guard of it in turn, in one folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import registry
from ..concepts import Concept, load_concept
from ..files.names import file_name
from ..guards.base import Guard
from ..guards.stack import GuardStack
from ..learning.workers import ALONE, Workers
from .recipe import check_recipe, train_guard


def train_stack(
    name: str,
    pipeline: Any,
    concept: str | Concept,
    folder: str | Path,
    *,
    preset: str = "default",
    seed: int = 0,
    workers: Workers = ALONE,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> GuardStack:
    """Train the guards of a stack on an unguarded pipeline, one after the other, and save it in ``folder``.

    Each has a folder of its own there, with its checkpoints; a run that was cut off goes on from them, and a guard that
    is done is not trained again.

    Args:
        settings: of the recipes, by the guard's name.

    Raises:
        UnknownName: no such stack.
        ConfigError: an unknown preset or setting, before anything is trained; and as ``train_guard``.
    """
    wanted = load_concept(concept)
    parts, guards = check_stack(name, preset, settings or {}), list[Guard]()
    chosen = _chosen(name, settings or {})
    folders = {guard: Path(folder) / file_name(str(place), guard) for place, guard in enumerate(parts)}
    for guard, here in folders.items():
        kind = registry.get("guards", guard)
        if kind.trained:
            how = _beside(chosen.get(guard, {}), folders)
            train_guard(guard, pipeline, wanted, here, preset=preset, seed=seed, workers=workers, **how)
            guards.append(kind.load(here, **parts[guard]))
        else:
            guards.append(kind(wanted, **parts[guard]))
    stack = GuardStack(*guards)
    if workers.first:
        stack.save(folder)
    workers.wait()
    return stack


def check_stack(name: str, preset: str, settings: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    """The parts of a stack; raises for a preset or settings that a recipe of it does not have. Needs no pipeline.

    Raises:
        UnknownName: no such stack.
        ConfigError: an unknown preset or setting.
    """
    parts: Mapping[str, Mapping[str, Any]] = registry.get("stacks", name).guards
    chosen = _chosen(name, settings)
    for guard in parts:
        if registry.get("guards", guard).trained:
            check_recipe(guard, preset, chosen.get(guard, {}))
    return parts


def _chosen(name: str, settings: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Settings of the recipes by guard: the stack's, and those that replace them."""
    own: Mapping[str, Mapping[str, Any]] = registry.get("stacks", name).recipes
    return {guard: {**own.get(guard, {}), **settings.get(guard, {})} for guard in {*own, *settings}}


def _beside(settings: Mapping[str, Any], folders: Mapping[str, Path]) -> dict[str, Any]:
    """A recipe's settings, in which the stack's own guards are meant by their names."""
    if "guards" not in settings:
        return dict(settings)
    beside = {str(folders.get(guard, guard)): how for guard, how in settings["guards"].items()}
    return {**settings, "guards": beside}
