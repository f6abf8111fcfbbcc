"""UCE: one ridge regression that makes the concept's text states project to where a guide's project.

With erased states c_i and their guides g_i, and states p_j to keep, each key and value matrix W becomes

    W' = W + s_e [SUM W (g_i - c_i) c_i^T] M^-1,    M = lambda I + s_e SUM c_i c_i^T + s_p SUM p_j p_j^T.

M and the sum's (g_i - c_i) c_i^T are the same in every layer, so W' = W T with one (D, D) matrix T. What is edited are
the layers that read text states as the encoder gave them: keys and values of cross-attention; in FLUX the layer before
all joint attention (``context_embedder``), and the one that reads the pooled vector, which is such a state as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ...config import Count, NotNegative, Positive, checked
from ...errors import ConfigError
from ...guards.base import Guard
from ...guards.weights.uce import UCE
from ...pipeline.model.base_weights import base_of
from ...pipeline.model.workbench import Workbench
from ...types import PromptEmbeds
from ..contexts import contexts_of, in_contexts
from ..prompts.captions import everyday, thing
from ..recipe import Recipe, Run

PUBLISHED_SQUARE = 27.5**2  # |c|^2 of Stable Diffusion 1.4's text states, for which lambda was published
GENERIC = ("", "a photo", "a picture", "something")
STYLED = 24  # things that a style is said of


@checked
@dataclass(frozen=True)
class UCETraining:
    """Which states are erased and kept, and how firmly.

    Attributes:
        positions: "tail" erases from the phrase's last token to the end, padding included, and keeps every position
            (older release); "last" erases and keeps last tokens only (present release).
        guide: phrases that erased ones shall read as, in turn; empty takes the concept's anchors, or "" without any.
        keep: phrases to keep beside the concept's anchors, its neighbours, generic phrases and "".
        captions: how many everyday captions are kept as well.
        erase: s_e.
        preserve: s_p; None is 1 / number of kept texts, at least 0.1.
        ridge: lambda, for states as large as Stable Diffusion 1.4's; scaled by the mean |c|^2.
    """

    positions: Literal["tail", "last"] = "tail"
    guide: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    captions: Count = 300
    erase: Positive = 1.0
    preserve: NotNegative | None = None
    ridge: Positive = 0.5


class UCERecipe(Recipe):
    """UCE (arXiv 2308.14761), closed form; texts in a few contexts each."""

    name = "uce"
    Settings = UCETraining
    settings: UCETraining
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "paper": {"guide": ("",), "captions": 0},
        "present": {"positions": "last", "guide": ("",), "preserve": 1.0, "captions": 0},
        "tiny": {},
    }

    def train(self, bench: Workbench, run: Run) -> Guard:
        """Solve once and multiply every matrix that reads text."""
        texts = self._texts(np.random.default_rng(run.seed))
        erased, guides, kept = self._states(bench, *texts)
        preserve = self.settings.preserve
        if preserve is None:
            preserve = max(0.1, 1 / len(texts[2]))
        size = erased.square().sum(1).mean()
        edit = edit_map(
            erased,
            guides,
            kept,
            erase=self.settings.erase,
            preserve=preserve,
            ridge=self.settings.ridge * float(size) / PUBLISHED_SQUARE,
        )
        name = bench.family.denoisers[0]
        before = {f"{name}.{path}.weight": layer.weight for path, layer in bench.text_readers().items()}
        return UCE(
            self.concept,
            tensors={key: (weight.detach().double() @ edit).cpu().half() for key, weight in before.items()},
            base={"weights": base_of(before)},
            training={"rank": int(torch.linalg.matrix_rank(torch.cat([erased, kept]), rtol=1e-2))},
        )

    def _texts(self, rng: np.random.Generator) -> tuple[list[str], list[str], list[str]]:
        """Erased texts, what each shall read as, and kept ones.

        Raises:
            ConfigError: a text is to be erased, and to be kept or to guide.
        """
        concept, settings = self.concept, self.settings
        contexts = contexts_of(concept)
        named = [f"in {label} style" if concept.kind == "style" else f"a {label}" for label in concept.neighbours]
        kept = in_contexts(contexts, [*concept.anchors, *named, *settings.keep])
        never = [*concept.targets, *concept.labels]
        kept = list(dict.fromkeys([*GENERIC, *kept, *everyday(settings.captions, rng, never=never)]))
        if concept.kind == "style":  # a style is said after a thing, whose word colours the style's
            contexts = (*contexts, *(f"{thing(rng)} {{}}" for _ in range(STYLED)))
        guides = settings.guide or concept.anchors or ("",)
        erased = in_contexts(contexts, concept.targets)
        led = in_contexts(contexts, [guides[k % len(guides)] for k in range(len(concept.targets))])
        if both := sorted(set(erased) & {*kept, *led}):
            raise ConfigError(f"uce: {both[0]!r} is to be erased, and to be kept or to guide; take it off one list.")
        return erased, led, kept

    def _states(
        self, bench: Workbench, erased: list[str], led: list[str], kept: list[str]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Erased, guiding and kept states, (N, D), (N, D), (P, D), in double precision."""
        pairs = _aligned(bench.read(erased), bench.read(led), self.settings.positions)
        return *pairs, _whole(bench.read(kept), self.settings.positions)


def edit_map(erased: Tensor, guides: Tensor, kept: Tensor, *, erase: float, preserve: float, ridge: float) -> Tensor:
    """T (D, D) of the module's docstring, in float64: a state x is read as T x."""
    erased, guides, kept = (states.double() for states in (erased, guides, kept))
    identity = torch.eye(erased.shape[1], dtype=torch.float64, device=erased.device)
    m = ridge * identity + erase * erased.T @ erased + preserve * kept.T @ kept
    moved = torch.cholesky_solve(erased.T @ (guides - erased), torch.linalg.cholesky(m))
    return identity + erase * moved.T


def _aligned(erased: PromptEmbeds, guides: PromptEmbeds, positions: str) -> tuple[Tensor, Tensor]:
    """Runs from each text's last token on, cut to the shorter of a pair. The empty text's begins at its start token."""
    runs: list[tuple[Tensor, Tensor]] = []
    for c, g in zip(_runs(erased), _runs(guides), strict=True):
        length = 1 if positions == "last" else min(len(c), len(g))
        runs.append((c[:length], g[:length]))
    return torch.cat([c for c, _ in runs]), torch.cat([g for _, g in runs])


def _whole(kept: PromptEmbeds, positions: str) -> Tensor:
    return torch.cat([run[:1] for run in _runs(kept)]) if positions == "last" else kept.embeds.double().flatten(0, 1)


def _runs(texts: PromptEmbeds) -> Sequence[Tensor]:
    assert texts.content is not None
    return [states[last:] for states, last in zip(texts.embeds.double(), texts.content.sum(1), strict=True)]
