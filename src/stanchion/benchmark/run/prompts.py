"""Runs a spec, cell by cell, into a store; starts again where it stopped, with the same result."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import groupby
from math import inf

from PIL import Image
from tqdm import tqdm

from ...concepts import Concept, load_concept
from ...config import fingerprint
from ...judges.base import Judge
from ...types import Attempt, Prompt
from ..spec.prompt_spec import Cell, Spec, Variant
from ..store.attempts import Entry, Store
from .generation import Draws, make_attempts, strength_of


class Runner:
    """A spec, the record it fills, and the artist and the judge that fill it.

    A picture is made once: cells that need the same prompt, seed, model and guard share it, and every metric
    reads it from the record. Pictures are made in the same batches whether a run was interrupted or not.
    """

    def __init__(self, spec: Spec, store: Store, artist: Draws, judge: Judge) -> None:
        self.spec, self.store, self.artist, self.judge = spec, store, artist, judge

    def run(self, *, until: float = inf, share: tuple[int, int] = (1, 1)) -> bool:
        """Fill every cell; False where the clock (``time.monotonic``) passed ``until`` first.

        ``share`` (i, n) fills every n-th cell from the i-th on: several processes can work on one record.
        """
        cells = list(self.spec.cells())[share[0] - 1 :: share[1]]
        with tqdm(total=sum(self.spec.prompts[cell.prompt_set] for cell in cells), unit="picture", disable=None) as bar:
            for cell in cells:
                bar.set_description(str(cell))
                for chunk in self.chunks(cell):
                    if time.monotonic() > until:
                        return False
                    self.fill(cell, chunk)
                    bar.update(len(chunk))
        return True

    def chunks(self, cell: Cell) -> Iterator[list[Prompt]]:
        """The cell's prompts, batch by batch; those of one batch share their guidance scale and strength."""
        for _, group in groupby(self.spec.rows(cell), key=lambda row: (self._scale(row), strength_of(row))):
            alike = list(group)
            yield from (alike[start : start + self.spec.batch] for start in range(0, len(alike), self.spec.batch))

    def fill(self, cell: Cell, prompts: Sequence[Prompt]) -> None:
        """Add what the record lacks of one batch. The batch is drawn whole: its size sways the last digits."""
        variant, concept = cell.variant, load_concept(cell.concept)
        keys = {prompt.id: self.key(variant, concept, prompt) for prompt in prompts}
        stored = self.store.cell(variant.guard, variant.variant, cell.concept, cell.prompt_set)
        done = {name for name, key in keys.items() if name in stored and stored[name].picture == key}
        if len(done) == len(keys):
            return
        pictures = {key: entry.attempt for key in keys.values() if (entry := self.store.picture(key))}
        if len(pictures) < len(keys):
            pictures = self._draw(variant, concept, prompts, keys) | pictures
        self.store.append(
            Entry(cell.concept, cell.prompt_set, key, self._seen_as(pictures[key], prompt, variant, concept))
            for prompt in prompts
            if prompt.id not in done and (key := keys[prompt.id])
        )

    def key(self, variant: Variant, concept: Concept, prompt: Prompt) -> str:
        """What names a picture: all that decides its pixels, and the judge that labelled it."""
        guard = self.artist.identity_of(variant, concept)
        drawing = [self.artist.identity, self.spec.steps, self._scale(prompt), prompt.text, prompt.seed]
        drawing += [asdict(prompt.start)] if prompt.start else []
        return fingerprint([guard, drawing, self.judge.identity])

    def _draw(
        self, variant: Variant, concept: Concept, prompts: Sequence[Prompt], keys: dict[str, str]
    ) -> dict[str, Attempt]:
        def keep(prompt: Prompt, image: Image.Image) -> str:
            return self.store.save_image(keys[prompt.id], image)

        scale, steps = self._scale(prompts[0]), self.spec.steps
        attempts = make_attempts(
            self.artist, self.judge, prompts, variant, concept, steps=steps, guidance_scale=scale, keep=keep
        )
        return {keys[attempt.prompt.id]: attempt for attempt in attempts}

    def _seen_as(self, picture: Attempt, prompt: Prompt, variant: Variant, concept: Concept) -> Attempt:
        """The picture in this cell: another one may have made it, under another concept's verdict."""
        verdict = self.judge.verdict(picture.labels, concept)
        return replace(picture, prompt=prompt, guard=variant.guard, variant=variant.variant, verdict=verdict)

    def _scale(self, prompt: Prompt) -> float:
        return self.spec.guidance_scale if prompt.guidance_scale is None else prompt.guidance_scale
