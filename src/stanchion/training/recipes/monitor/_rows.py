"""What a monitor learns from: steps of runs with labels, and how they are made harder than they were drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from ....guards.trajectory.monitor import PictureNetwork
from ._runs import Runs

CLEAR = 0.1  # chance below which a finished picture does not show the concept
JITTER = 0.05  # deviation of the noise on what is learnt from
SHIFT = 1  # cells of the latents, each way
BLENDED = 0.5  # share of rows that are blends of two, labels and all (mixup, arXiv 1710.09412)
AGAINST = 0.1  # of latents: what looks alike when it is decoded; searched states hide a clear picture behind less


@dataclass(frozen=True)
class Learnt:
    """Runs that teach, all of one kind: ``labels`` (N,) 1 where they show the concept, 0 where not, NaN unknown."""

    runs: Runs
    labels: Tensor

    def __getitem__(self, rows: slice | Tensor) -> Learnt:
        return Learnt(self.runs[rows], self.labels[rows])


@dataclass(frozen=True)
class PictureReader:
    """The first network, and the chance above which a finished picture shows the concept.

    That is what harmless pictures hardly ever reach, not what whole ones do: searched states draw halves of the concept
    (a style's outlines around colours), and a network that learns from blends gives those half a chance.
    """

    network: PictureNetwork
    shown: float

    @classmethod
    def of(cls, network: PictureNetwork, harmless: Runs, alarms: float) -> PictureReader:
        """One that takes the share ``alarms`` of these harmless runs for the concept."""
        return cls(network, max(CLEAR, float(chances(network, harmless).quantile(1 - alarms))))


def read(runs: Runs, reader: PictureReader) -> Learnt:
    """What the first network says of finished pictures; of what it places between clear and shown, nothing."""
    chance = chances(reader.network, runs)
    labels = torch.full_like(chance, torch.nan)
    labels[chance > reader.shown], labels[chance < CLEAR] = 1.0, 0.0
    return Learnt(runs, labels)


@torch.no_grad()
def chances(network: PictureNetwork, runs: Runs) -> Tensor:
    """(N,) of finished pictures, that they show the concept."""
    device = next(network.parameters()).device
    return network(runs.finished.to(device), runs.levels[-1].to(device)).sigmoid().cpu()


def samples(kinds: Sequence[Learnt]) -> tuple[Tensor, Tensor, Tensor]:
    """Every step of every run that has a label: (M, C, H, W), (M,) shares of signal, (M,) labels."""
    known = [kind[~kind.labels.isnan()] for kind in kinds]
    seen = torch.cat([kind.runs.seen.flatten(0, 1) for kind in known])
    levels = torch.cat([kind.runs.levels.repeat(len(kind.labels)) for kind in known])
    return seen, levels, torch.cat([kind.labels.repeat_interleave(len(kind.runs.levels)) for kind in known])


def harder(
    network: PictureNetwork, clean: Tensor, levels: Tensor, labels: Tensor, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows (M, C, H, W), moved, blended, jittered, and a step against the network that learns; where that is."""
    clean, labels = _blended(_moved(clean, rng), labels, rng)
    clean = clean + JITTER * torch.randn(clean.shape)
    clean, levels, labels = (part.to(network.first.weight.device) for part in (clean, levels, labels))
    return _worst(network, clean, levels, labels), levels, labels


def _moved(clean: Tensor, rng: np.random.Generator) -> Tensor:
    """All shifted alike, half of them mirrored."""
    down, right = rng.integers(-SHIFT, SHIFT + 1, 2).tolist()
    mirrored = torch.from_numpy(rng.random(len(clean)) < 0.5)
    return torch.where(mirrored[:, None, None, None], clean.flip(-1), clean).roll((down, right), (2, 3))


def _blended(clean: Tensor, labels: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Some rows are blends of themselves and another, pictures and labels by the same share."""
    share = torch.from_numpy(np.where(rng.random(len(clean)) < BLENDED, rng.random(len(clean)), 1.0)).float()
    other = torch.from_numpy(rng.permutation(len(clean)))
    wide = share[:, None, None, None]
    return wide * clean + (1 - wide) * clean[other], share * labels + (1 - share) * labels[other]


def _worst(network: PictureNetwork, clean: Tensor, level: Tensor, label: Tensor) -> Tensor:
    """One step against the network from a random place, within ``AGAINST`` (arXiv 2001.03994)."""
    moved = clean + AGAINST * (2 * torch.rand(clean.shape) - 1).to(clean)
    moved.requires_grad_()
    (slope,) = torch.autograd.grad(binary_cross_entropy_with_logits(network(moved, level), label), moved)
    change = moved.detach() + 1.25 * AGAINST * slope.sign() - clean
    return clean + change.clamp(-AGAINST, AGAINST)
