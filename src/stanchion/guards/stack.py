"""Several guards on one pipeline, in the order of their stages, with one attachment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..files.names import file_name
from ..hub.repository import push
from ..pipeline.attach.attachment import Attachment, Cover, in_stage_order
from .artefact import LIST
from .base import Guard


class GuardStack:
    """Guards that are attached together; at most one of them steers the trajectory.

    Attributes:
        guards: in stage order.
        name: their names, joined by ``+``.

    Raises:
        ConfigError: no guard, what is no guard, or two trajectory guards.
    """

    def __init__(self, *guards: Guard) -> None:
        if foreign := [given for given in guards if not isinstance(given, Guard)]:
            raise ConfigError(
                f"GuardStack takes guards, each by itself, not {foreign[0]!r}: GuardStack(load_guard(…), …); "
                "load_stack(…) has those with a name, and *stack.guards are those of another stack."
            )
        self.guards: tuple[Guard, ...] = in_stage_order(guards)

    @property
    def name(self) -> str:
        """As in rows of results."""
        return "+".join(guard.name for guard in self.guards)

    def __repr__(self) -> str:
        return f"GuardStack({', '.join(map(repr, self.guards))})"

    def attach(self, pipeline: Any, cover: Cover = "whole") -> Attachment:
        """Guard a pipeline with all of them. See ``Attachment``."""
        return Attachment(pipeline, self.guards, cover)

    def save(self, folder: str | Path) -> None:
        """One folder a guard, numbered in stage order, and ``stack.json``, which lists them."""
        names = [file_name(str(place), guard.name) for place, guard in enumerate(self.guards)]
        for name, guard in zip(names, self.guards, strict=True):
            guard.save(Path(folder) / name)
        (Path(folder) / LIST).write_text(json.dumps(names) + "\n", encoding="utf-8")

    def save_pretrained(self, folder: str | Path) -> None:
        """``save``, under the name that diffusers and transformers have for it."""
        self.save(folder)

    def push_to_hub(self, repo_id: str, **about: Any) -> str:
        """Save it with a card and upload both; the commit's address. ``about``: see ``hub.repository.push``."""
        return push(self, repo_id, **about)
