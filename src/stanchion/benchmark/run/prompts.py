"""A spec's prompts as work: drawn, judged, and kept batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import cached_property

from PIL import Image

from ...concepts import Concept, load_concept
from ...config import fingerprint
from ...judges.base import Judge
from ...types import Attempt, Prompt
from ..spec.cells import PromptCell
from ..spec.prompt_spec import Spec
from ..spec.variant import Variant
from ..store.attempts import Store, StoredAttempt
from .generation import Draws, batches, make_attempts, strength_of


class PromptWork:
    """A spec, the record it fills, and the generator and the judge that fill it.

    A picture is made once: cells that need the same prompt, seed, model and guard share it, and every metric
    reads it from the record. Pictures are made in the same batches whether a run was interrupted or not.
    """

    unit = "picture"

    def __init__(self, spec: Spec, store: Store, generator: Draws, judge: Judge) -> None:
        self.spec, self.store, self.generator, self.judge = spec, store, generator, judge

    def cells(self) -> list[PromptCell]:
        """The spec's, the unguarded ones first."""
        return list(self.spec.cells())

    def group(self, cell: PromptCell) -> str:
        """Cells that share a picture, or share one with others that do."""
        return self._groups[str(cell)]

    def size(self, cell: PromptCell) -> int:
        """Pictures, at most: a concept may have less of a kind."""
        return self.spec.prompts[cell.prompt_set]

    def chunks(self, cell: PromptCell) -> Iterator[list[Prompt]]:
        """The cell's prompts, batch by batch; those of one batch share their guidance scale and strength."""
        rows, size = self.spec.rows(cell), self.spec.batch
        yield from batches(rows, size, alike=lambda row: (self._scale(row), strength_of(row)))

    def done(self, cell: PromptCell, chunk: Sequence[Prompt]) -> bool:
        """Whether the record has every picture of one batch, in this cell."""
        return not self._missing(cell, self._keys(cell, chunk))

    def carry_out(self, cell: PromptCell, chunk: Sequence[Prompt]) -> None:
        """Add what the record lacks of one batch. The batch is drawn whole: its size sways the last digits."""
        variant, concept, keys = cell.variant, load_concept(cell.concept), self._keys(cell, chunk)
        missing = self._missing(cell, keys)
        pictures = {key: entry.attempt for key in keys.values() if (entry := self.store.picture(key))}
        if missing and len(pictures) < len(set(keys.values())):
            pictures = self._draw(variant, concept, chunk, keys) | pictures
        self.store.append(
            StoredAttempt(cell.concept, cell.prompt_set, key, self._seen_as(pictures[key], prompt, variant, concept))
            for prompt in chunk
            if prompt.id in missing and (key := keys[prompt.id])
        )

    def _keys(self, cell: PromptCell, chunk: Sequence[Prompt]) -> dict[str, str]:
        """By the prompt's id."""
        concept = load_concept(cell.concept)
        return {prompt.id: self.key(cell.variant, concept, prompt) for prompt in chunk}

    def _missing(self, cell: PromptCell, keys: dict[str, str]) -> set[str]:
        """Ids of prompts whose pictures the record does not have in this cell."""
        stored = self.store.cell(cell.variant.guard, cell.variant.variant, cell.concept, cell.prompt_set)
        return {name for name, key in keys.items() if name not in stored or stored[name].picture != key}

    @cached_property
    def _groups(self) -> dict[str, str]:
        """The name of each cell's group: that of one of its cells."""
        parent: dict[str, str] = {}
        owner: dict[str, str] = {}

        def root(name: str) -> str:
            while parent[name] != name:
                name = parent[name]
            return name

        for cell in self.cells():
            parent[str(cell)] = str(cell)
            for key in self._keys(cell, self.spec.rows(cell)).values():
                parent[root(str(cell))] = root(owner.setdefault(key, str(cell)))
        return {name: root(name) for name in parent}

    def key(self, variant: Variant, concept: Concept, prompt: Prompt) -> str:
        """What names a picture: all that decides its pixels, and the judge that labelled it."""
        guard = self.generator.identity_of(variant, concept)
        drawing = [self.generator.identity, self.spec.steps, self._scale(prompt), prompt.text, prompt.seed]
        drawing += [asdict(prompt.start)] if prompt.start else []
        return fingerprint([guard, drawing, self.judge.identity])

    def _draw(
        self, variant: Variant, concept: Concept, prompts: Sequence[Prompt], keys: dict[str, str]
    ) -> dict[str, Attempt]:
        def keep(prompt: Prompt, image: Image.Image) -> str:
            return self.store.save_image(keys[prompt.id], image)

        scale, steps = self._scale(prompts[0]), self.spec.steps
        attempts = make_attempts(
            self.generator, self.judge, prompts, variant, concept, steps=steps, guidance_scale=scale, keep=keep
        )
        return {keys[attempt.prompt.id]: attempt for attempt in attempts}

    def _seen_as(self, picture: Attempt, prompt: Prompt, variant: Variant, concept: Concept) -> Attempt:
        """The picture in this cell: another one may have made it, under another concept's verdict."""
        verdict = self.judge.verdict(picture.labels, concept)
        return replace(picture, prompt=prompt, guard=variant.guard, variant=variant.variant, verdict=verdict)

    def _scale(self, prompt: Prompt) -> float:
        return self.spec.guidance_scale if prompt.guidance_scale is None else prompt.guidance_scale
