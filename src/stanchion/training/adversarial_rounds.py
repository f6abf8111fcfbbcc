"""Adversarial rounds: text states that bring the concept back through what was learnt so far are learnt from next.

By turns an offset to all states (a soft prompt) and a new word before the prompt (concept inversion) are searched over
harmless prompts. Later iterations draw some of their groups under these, and want the harmless prompt's picture.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ..pipeline.model.workbench import Workbench
from .prompts.pool import PromptPool, Task
from .searched_states import NewWord, StateSearch

TEXTS = 32  # harmless prompts of a search
BATCH = 16
FAR = 1_000_117  # stream of a round's randomness


@dataclass
class Rounds:
    """What was found, one tensor a round: the even ones are offsets, the odd ones words.

    Attributes:
        at: the iterations before which a round is held.
        share: of an iteration's groups, drawn under what was found.
    """

    bench: Workbench
    pool: PromptPool
    at: tuple[int, ...]
    share: float
    updates: int
    scale: float
    seed: int
    found: list[Tensor] = field(default_factory=list)

    @staticmethod
    def spaced(count: int, iterations: int) -> tuple[int, ...]:
        """``count`` of the iterations, evenly over the second half."""
        first = iterations // 2
        return tuple(first + place * (iterations - first) // count for place in range(count))

    def hold(self, iteration: int, wanted: Tensor) -> None:
        """Search, where a round is due; ``wanted`` are the concept's pictures, as latents. The guard is in place."""
        if iteration not in self.at[len(self.found) :]:
            return
        place = len(self.found)
        rng = np.random.default_rng([self.seed, FAR, place])
        texts = [self.pool.draw("benign", rng).text for _ in range(TEXTS)]
        self.found.append(self._search(place, texts, wanted).found(int(rng.integers(2**31))))

    def attacked(self, tasks: list[Task], rng: np.random.Generator) -> tuple[list[Task], list[int]]:
        """The groups' tasks, some attacked now, and for each which round's states it is drawn under; -1 for none."""
        count = round(self.share * len(tasks)) if self.found else 0
        places = [int(rng.integers(len(self.found))) for _ in range(count)]
        new = []
        for _ in places:
            text = self.pool.draw("benign", rng).text
            new.append(Task(text, "attacked", text))
        return [*new, *tasks[count:]], [*places, *[-1] * (len(tasks) - count)]

    @torch.no_grad()
    def states(self, texts: list[str], places: list[int]) -> Tensor:
        """(len(texts), R, D), each text as it is or as its round changes it."""
        embeds = self.bench.encode(texts)
        for place in sorted({place for place in places if place >= 0}):
            rows = [row for row, of in enumerate(places) if of == place]
            search = self._search(place, [texts[row] for row in rows])
            embeds[rows] = search.states(self.found[place], range(len(rows))).to(embeds)
        return embeds

    def _search(self, place: int, texts: list[str], wanted: Tensor | None = None) -> StateSearch:
        kind = NewWord if place % 2 else StateSearch
        wanted = torch.zeros(0) if wanted is None else wanted
        return kind(self.bench, wanted, texts, self.scale, self.updates, BATCH)
