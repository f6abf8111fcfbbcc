"""What the layers of joint attention read of texts: it changes from layer to layer, and with the picture.

So it is read in short guided runs, and each layer has second moments of its own.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .....pipeline.model.workbench import Workbench

STEPS = 4  # of a run
AT_ONCE = 64
CPU = torch.device("cpu")

Rows = tuple[str, bool]  # a layer, and whether they are the rows that the adapter projects


class RowReader:
    """Stands where an attention guard does, changes nothing, and adds up the rows that it is shown.

    Attributes:
        says: (B, L) bool, which rows of the prompts count.
        sums: by layer, sums of r r^T over rows r = (row, 1), (D + 1, D + 1): the one stands for the layer's bias.
        counts: of rows.
    """

    projections = ("k",)  # v is made of the same

    def __init__(self, adapted: Tensor) -> None:
        self.adapted = adapted
        self.says = torch.zeros(0, dtype=torch.bool)
        self.sums: dict[Rows, Tensor] = {}
        self.counts: dict[Rows, int] = {}

    def project(self, layer: str, which: str, context: Tensor, projected: Tensor, state: None) -> Tensor:
        """Of guidance's two halves the second is the prompts'."""
        states = context[-len(self.says) :].detach().to(CPU, torch.float64)
        for adapter in (True, False):
            rows = states[self.says & (self.adapted == adapter)]
            rows = torch.cat([rows, torch.ones_like(rows[:, :1])], 1)
            key = (layer, adapter)
            self.sums[key] = self.sums.get(key, 0) + rows.T @ rows
            self.counts[key] = self.counts.get(key, 0) + len(rows)
        return projected

    def moments(self) -> dict[Rows, Tensor]:
        """Means of r r^T."""
        return {key: total / max(1, self.counts[key]) for key, total in self.sums.items()}


def read(
    bench: Workbench, texts: Tensor, says: Tensor, adapted: Tensor, scale: float, rng: np.random.Generator
) -> dict[Rows, Tensor]:
    """Moments of runs over texts, whatever else stands in the projections.

    Args:
        texts: (N, R, D), as the workbench encodes them.
        says: (N, L) bool, which rows of the texts count.
        adapted: (L,) bool, which the adapter projects.
        scale: of guidance.
    """
    reader, empty = RowReader(adapted), bench.encode([""])
    with bench.projected(reader):
        for at in range(0, len(texts), AT_ONCE):
            embeds = texts[at : at + AT_ONCE].to(bench.device, bench.dtype)
            reader.says = says[at : at + AT_ONCE]
            noise = torch.from_numpy(rng.standard_normal((len(embeds), *bench.latent_shape), dtype=np.float32))
            start = noise.to(bench.device, bench.dtype)
            for _ in bench.trajectory(embeds, empty, start, steps=STEPS, scale=scale):
                pass
    return reader.moments()
