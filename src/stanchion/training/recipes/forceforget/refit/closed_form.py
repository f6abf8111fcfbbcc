"""What was learnt, refitted in closed form: its effect on the concept's text states stays, that on benign ones goes.

With U and G the second moments of unsafe and of benign states, Delta' minimises

    E_u |Delta' u - Delta u|^2 + mu E_g |Delta' g|^2 + r |Delta'|^2,    so    Delta' = Delta U (U + mu G + r)^-1.

Of an unsafe prompt count the rows from the last token of the concept's phrase on: a causal encoder's rows before it say
what they say in a benign prompt. The rows that the adapter projects have moments of their own. No picture is drawn. An
update of q reads pictures, not texts, and stays what it was.

In joint attention a layer reads what those before made of the text, so moments are taken layer by layer in short runs:
those of unsafe prompts under the guard, which they have to be answered by, those of benign ones without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .....concepts import Concept
from .....guards.attention.forceforget import BIAS, ForceForget, State, prepare
from .....pipeline.families.base import Place
from .....pipeline.model.workbench import Workbench
from ....prompts.captions import everyday, surrounded, thing
from ....prompts.pool import PromptPool
from .in_runs import read

NOTHING = ("", "a photo", "a picture", "something")
RIDGE = 1e-4  # of the mean benign energy
AT_ONCE = 64
CPU = torch.device("cpu")

Moments = Callable[[str, bool], tuple[Tensor, Tensor]]  # U and G of a layer, of the adapter's rows or of the others


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
    guard: ForceForget,
    bench: Workbench,
    texts: Texts,
    mu: float,
    scale: float,
    rng: np.random.Generator,
    found: Tensor | None = None,
) -> dict[str, Tensor]:
    """A guard's tensors, refitted; in double precision inside.

    Args:
        mu: weight of the benign texts, above 0.
        scale: of guidance, in the runs that joint attention is read in, with their noise from ``rng``.
        found: (N, R, D), what brings the concept without a word of it; all rows of text in it are unsafe.
    """
    places = {f"{place.layer}.to_{place.which}": place for place in bench.text_projections(("k", "v"))}
    says = torch.arange(guard.settings.rows) >= torch.tensor(bench.lengths(texts.named))[:, None]  # 0 is the start's
    unsafe, benign = (_encoded(bench, of_a_kind) for of_a_kind in (texts.unsafe, texts.benign))
    if found is not None:
        unsafe = torch.cat([unsafe, found.to(unsafe)])
        says = torch.cat([says, torch.ones(len(found), says.shape[1], dtype=torch.bool)])
    adapted = torch.zeros(guard.settings.rows, dtype=torch.bool)
    adapted[guard.own_rows] = True
    if all(place.once for place in places.values()):
        moments = _of_texts(bench, unsafe, benign, says, adapted)
    else:
        moments = _of_runs(guard, bench, unsafe, benign, says, adapted, scale, rng)
    return {name: _refitted(name, guard.tensors, moments, mu, places) for name in guard.tensors}


def _of_texts(bench: Workbench, unsafe: Tensor, benign: Tensor, says: Tensor, adapted: Tensor) -> Moments:
    """Every layer reads the text encoder's states."""
    unsafe, benign = (bench.family.unpacked(rows).embeds.double() for rows in (unsafe, benign))
    found = {
        adapter: (_moment(unsafe[says & (adapted == adapter)]), _moment(benign[:, adapted == adapter].flatten(0, 1)))
        for adapter in (True, False)
    }
    return lambda layer, adapter: found[adapter]


def _of_runs(
    guard: ForceForget,
    bench: Workbench,
    unsafe: Tensor,
    benign: Tensor,
    says: Tensor,
    adapted: Tensor,
    scale: float,
    rng: np.random.Generator,
) -> Moments:
    """Every layer reads states of its own."""
    with bench.projected(guard, State(prepare(guard.tensors, bench.device, bench.dtype))):
        answered = read(bench, unsafe, says, adapted, scale, rng)
    everything = torch.ones(len(benign), len(adapted), dtype=torch.bool)
    left_alone = read(bench, benign, everything, adapted, scale, rng)
    return lambda layer, adapter: (answered[layer, adapter], left_alone[layer, adapter])


def kept_part(unsafe: Tensor, benign: Tensor, mu: float) -> Tensor:
    """T = U (U + mu G + r)^-1, (D, D), of (N, D) and (M, D) states in double precision."""
    return _solved(_moment(unsafe), _moment(benign), mu)


def _moment(states: Tensor) -> Tensor:
    return states.T @ states / max(1, len(states))


def _solved(u: Tensor, g: Tensor, mu: float) -> Tensor:
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


def _refitted(
    name: str, tensors: Mapping[str, Tensor], moments: Moments, mu: float, places: Mapping[str, Place]
) -> Tensor:
    """Of a pair of thin factors the second, which reads nothing of the text, stays as it is."""
    where, _, part = name.rpartition(".")
    layer, _, which = where.rpartition(".to_")
    if which == "q" or part.endswith("_up"):
        return tensors[name]
    parts = (part,) if part.endswith("_down") else ("adapter", BIAS)
    first = _beside([tensors.get(f"{where}.{one}") for one in parts])
    width = first.shape[1]
    u, g = (moment[:width, :width] for moment in moments(layer, part.startswith("adapter")))
    t = _solved(u, g, mu)
    if part.endswith("_down"):
        return (first @ t).to(tensors[name])
    place = places[where]
    stock = _beside([place.weight, place.bias])
    made = stock + (first - stock) @ t
    return (made[:, -1] if part == BIAS else made[:, : place.weight.shape[1]]).to(tensors[name])


def _beside(parts: Sequence[Tensor | None]) -> Tensor:
    """A matrix, and behind it its bias as one more column, where there is one."""
    return torch.cat([one.detach().to(CPU, torch.float64).view(len(one), -1) for one in parts if one is not None], 1)


def _encoded(bench: Workbench, texts: Sequence[str]) -> Tensor:
    """(N, R, D), where there is memory for many."""
    return torch.cat([bench.encode(texts[at : at + AT_ONCE]).to(CPU) for at in range(0, len(texts), AT_ONCE)])
