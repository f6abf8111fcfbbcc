"""What was learnt, refitted in closed form: its effect on the concept's text states stays, that on benign ones goes.

With U and G the second moments of unsafe and of benign states, Delta' minimises

    E_u |Delta' u - Delta u|^2 + mu E_g |Delta' g|^2 + r |Delta'|^2,    so    Delta' = Delta U (U + mu G + r)^-1.

Of an unsafe prompt count the rows from the last token of the concept's phrase on: a causal encoder's rows before it say
what they say in a benign prompt. The rows that the adapter projects have moments of their own. No picture is drawn. An
update of q reads pictures, not texts, and stays what it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ....concepts import Concept
from ....pipeline.model.workbench import Workbench
from ...prompts.captions import everyday, surrounded, thing
from ...prompts.pool import PromptPool

NOTHING = ("", "a photo", "a picture", "something")
RIDGE = 1e-4  # of the mean benign energy
AT_ONCE = 64
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Texts:
    """Prompts that name the concept, these cut off behind its phrase, and benign ones."""

    unsafe: list[str]
    named: list[str]
    benign: list[str]

    @classmethod
    def drawn(cls, pool: PromptPool, count: int, rng: np.random.Generator) -> Texts:
        """``count`` alone, in pairs and in everyday captions; more benign ones, of things near to it and not."""
        concept = pool.concept
        unsafe = [pool.draw(kind, rng).text for kind in ("single", "pair") for _ in range(count)]
        unsafe += [_captioned(concept, rng) for _ in range(count)]
        benign = [pool.draw(kind, rng).text for kind in ("benign", "near") for _ in range(count)]
        others = everyday(2 * count, rng, never=[*concept.targets, *concept.labels])
        named = [_until_named(text, concept.targets) for text in unsafe]
        return cls(unsafe, named, [*benign, *others, *NOTHING * max(1, count // 60)])


def refitted(
    tensors: Mapping[str, Tensor], bench: Workbench, texts: Texts, mu: float, own: slice, found: Tensor | None = None
) -> dict[str, Tensor]:
    """A guard's tensors, refitted.

    Args:
        mu: weight of the benign texts, above 0.
        own: the text rows that the adapter projects; its others are those of the low-rank updates.
        found: (N, L, D) states that bring the concept without a word of it; all their rows are unsafe.
    """
    unsafe, benign = (_states(bench, of_a_kind) for of_a_kind in (texts.unsafe, texts.benign))
    rows = torch.arange(unsafe.shape[1])
    says = rows >= torch.tensor(bench.lengths(texts.named))[:, None]  # row 0 is the start token's
    if found is not None:
        unsafe = torch.cat([unsafe, found.to(unsafe)])
        says = torch.cat([says, torch.ones(found.shape[:2], dtype=torch.bool)])
    adapted = torch.zeros(len(rows), dtype=torch.bool)
    adapted[own] = True
    kept = {
        adapter: kept_part(unsafe[says & (adapted == adapter)], benign[:, adapted == adapter].flatten(0, 1), mu)
        for adapter in (True, False)
    }
    stock = dict(bench.denoiser.named_parameters())
    return {name: _refitted(name, value.detach(), kept, stock) for name, value in tensors.items()}


def kept_part(unsafe: Tensor, benign: Tensor, mu: float) -> Tensor:
    """T = U (U + mu G + r)^-1, (D, D), of (N, D) and (M, D) states in double precision."""
    u, g = (states.T @ states / max(1, len(states)) for states in (unsafe, benign))
    ridge = RIDGE * g.diagonal().mean() * torch.eye(len(u), dtype=u.dtype)
    return torch.linalg.solve(u + mu * g + ridge, u).T


def _captioned(concept: Concept, rng: np.random.Generator) -> str:
    """An everyday caption that names the concept, half of them beside something else; a style over two things, then."""
    phrase = concept.targets[int(rng.integers(len(concept.targets)))]
    return surrounded(thing(rng), rng, manner=phrase) if concept.kind == "style" else surrounded(phrase, rng)


def _until_named(text: str, phrases: Sequence[str]) -> str:
    """The text up to the end of the phrase that it names; of the longest, where one lies within another."""
    phrase = max((phrase for phrase in phrases if phrase in text), key=len)
    return text[: text.index(phrase) + len(phrase)]


def _refitted(name: str, value: Tensor, kept: Mapping[bool, Tensor], stock: Mapping[str, Tensor]) -> Tensor:
    """Of a pair of thin factors the second, which reads nothing of the text, stays as it is."""
    where, _, part = name.rpartition(".")
    if where.endswith(".to_q") or part.endswith("_up"):
        return value
    first, t = value.to(CPU, torch.float64), kept[part.startswith("adapter")]
    if part != "adapter":
        return (first @ t).to(value)
    own = stock[f"{where}.weight"].detach().to(CPU, torch.float64)
    return (own + (first - own) @ t).to(value)


def _states(bench: Workbench, texts: Sequence[str]) -> Tensor:
    """(N, L, D) in double precision, which not every accelerator has."""
    parts = (bench.states(texts[at : at + AT_ONCE]) for at in range(0, len(texts), AT_ONCE))
    return torch.cat([part.to(CPU, torch.float64) for part in parts])
