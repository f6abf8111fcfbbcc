"""ForceForget (arXiv 2606.14351): a Safe Adapter wherever text is projected, trained by policy gradient.

The text states are split along their rows: c'' are the first S - m rows, c' the last m. With Delta the low-rank
updates (LoRA) and W_k', W_v' the adapter,

    K = [ c'' (W_k + Delta_k) | c' W_k' ]     V = [ c'' (W_v + Delta_v) | c' W_v' ]      Eq. (6), (7)
    Q = Z (W_q + Delta_q)                                                                Eq. (8)

One attention over all S keys follows, as without the guard. The paper's LoRA in the *self*-attention layers is left
out: the seam shows what reads text only. In joint attention, which the paper leaves aside, c_t are the text's rows as
they enter each layer, mixed with the picture by those before; Q is of these rows, too. A bias of the layer has one of
its own in the adapter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple

import torch
from torch import Tensor

from ...concepts import Concept
from ...config import Natural, Range, Share, checked
from ...errors import ConfigError, UnsupportedPipeline
from ...types import Call, Flagged
from ..base import AttentionGuard
from ..triggers import TextScore, When, either, flagged, reads_prompt, tripped

WIDE = 512  # channels from which two thin products are cheaper than one square one


@checked
@dataclass(frozen=True)
class ForceForgetSettings:
    """Settings of ``ForceForget``; from ``tokens`` on they are those that it was trained with.

    Attributes:
        when: "always", or "flagged": only on pictures whose prompt is near the concept (``triggers.TextScore``);
            "monitor": only from where the guard ``monitor`` beside it has seen the concept; or "flagged_or_monitor".
        threshold: score in [-1, 1] from which on it is: -1 is an anchor, 1 the concept; None takes the score's own.
        scale: how much of the guard acts, in [0, 1]: 0 is the unguarded model, 1 the guard as it was trained.
        tokens: m, how many text rows the adapter projects; 1 or more.
        position: whether these are the last rows or the first. The paper's are the last, normally padding; the first
            destroy prompt following (its Table of ablations).
        rows: S, the length of the padded text states.
    """

    when: When = "always"
    threshold: Annotated[float, Range(-1, 1)] | None = None
    scale: Share = 1.0
    tokens: Natural = 4
    position: Literal["end", "begin"] = "end"
    rows: Natural = 77


class Projection(NamedTuple):
    """What one projection adds: ``down`` (D, r) and ``up`` (r, C) of its LoRA (None: nothing), and its adapter.

    ``adapter`` (D, C) and ``bias`` (C,) stand in place of the stock weights, or beside them where ``beside`` says so.
    Where ``up`` is None, ``down`` is their product.
    """

    down: Tensor | None
    up: Tensor | None
    adapter: Tensor | None
    beside: bool
    bias: Tensor | None = None


MATRICES = ("lora_down", "lora_up", "adapter", "adapter_down", "adapter_up")
BIAS = "adapter_bias"


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """What must be there if each projection is one: (C, D) and the ranks are taken from what is there of it."""
    wanted: dict[str, tuple[int, ...]] = {}
    for where in {name.rpartition(".")[0] for name in tensors}:
        held = {part: tuple(tensors[f"{where}.{part}"].shape) for part in MATRICES if f"{where}.{part}" in tensors}
        out = next((shape[0] for part, shape in held.items() if shape and not part.endswith("_down")), 0)
        into = next((shape[-1] for part, shape in held.items() if shape and not part.endswith("_up")), 0)
        for part in held:
            what, _, thin = part.partition("_")
            rank = next(iter(held.get(f"{what}_down", ())), 0)
            pair = {f"{what}_down": (rank, into), f"{what}_up": (out, rank)} if thin else {what: (out, into)}
            wanted.update({f"{where}.{name}": shape for name, shape in pair.items()})
        if f"{where}.{BIAS}" in tensors:
            wanted.update({f"{where}.adapter": (out, into), f"{where}.{BIAS}": (out,)})
    return wanted


@dataclass
class State:
    """The projections as the pipeline computes; what flags a prompt, where not all pictures are meant."""

    projections: Mapping[tuple[str, str], Projection] = field(default_factory=dict)
    score: TextScore | None = None
    call: Call | None = None  # of a guard that waits for a monitor


class ForceForget(AttentionGuard):
    """Safe Adapter and LoRA where text is projected, trained by reward to draw something else.

    Source: ForceForget (arXiv 2606.14351), Eq. (6) to (8); trained by ``training/recipes/forceforget``.

    Tensors, by layer and projection: ``….lora_down`` (r, D) and ``….lora_up`` (C, r) for q, k and v; for k and v also
    ``….adapter`` (C, D), with ``….adapter_bias`` (C,) where the layer has a bias, or ``….adapter_down`` (r, D) and
    ``….adapter_up`` (C, r), added to the stock weights.

    A prompt so long that it reaches the last m rows puts words into the adapter's rows, which was trained on padding.
    """

    name = "forceforget"
    Settings = ForceForgetSettings
    needs: tuple[str, ...] = ("padded_text", "padding_read")
    trained = True
    based_on = ("unet",)

    def __init__(self, *args: Any, **values: Any) -> None:
        super().__init__(*args, **values)
        if reads_prompt(self.settings.when):
            self.needs = (*self.needs, "words", "streams")
        held = {name.rsplit(".", 2)[1] for name in self.tensors}
        self.projections = tuple(which for which in ("q", "k", "v") if f"to_{which}" in held)
        self._prepared: dict[tuple[torch.device, torch.dtype], Mapping[tuple[str, str], Projection]] = {}

    @classmethod
    def check_fit(cls, concept: Concept, settings: Any) -> None:
        """Also that not every row of the text is projected."""
        if settings.tokens >= settings.rows:
            raise ConfigError(
                f"forceforget: tokens is {settings.tokens}; give fewer than the text's {settings.rows} rows."
            )

    @property
    def own_rows(self) -> slice:
        """The text rows that the adapter projects."""
        tokens = self.settings.tokens
        return slice(-tokens, None) if self.settings.position == "end" else slice(tokens)

    def check_tensors(self) -> None:
        """Also that they come in pairs that fit together."""
        super().check_tensors()
        self.check_shapes(_shapes(self.tensors))

    def reads_prompt(self, offers: Sequence[str]) -> bool:
        """Where it acts on flagged prompts only."""
        return reads_prompt(self.settings.when)

    def begin(self, call: Call) -> State:
        """The score, if one is asked for: the first projection shows in which type the denoiser computes, and where."""
        score = TextScore(call, self.concept) if reads_prompt(self.settings.when) else None
        return State(score=score, call=call if self.asks_monitor else None)

    def flags(self, states: Tensor, state: State) -> Flagged | None:
        """Every picture, or those whose prompt is near the concept, or on which its monitor has tripped."""
        found = []
        if state.score is not None:
            threshold = self.settings.threshold
            found.append(flagged(state.score.of(states), state.score.threshold if threshold is None else threshold))
        if state.call is not None:
            found.append(tripped(state.call, self.concept, states))
        return either(found) if found else None

    def project(self, layer: str, which: str, context: Tensor, projected: Tensor, state: State) -> Tensor:
        """Eq. (6) to (8) for one projection.

        Raises:
            UnsupportedPipeline: text states with fewer rows than the guard was trained with; or no such layer.
        """
        projection = self._of((layer, which), context, state)
        if which == "q":
            return low_rank(context, projected, projection)
        return self._project_text(context, projected, projection)

    def _of(self, where: tuple[str, str], context: Tensor, state: State) -> Projection:
        """The matrices of one projection; they are made once for a device and a type, and kept."""
        if not state.projections:
            key = (context.device, context.dtype)
            if key not in self._prepared:
                with torch.no_grad():
                    self._prepared[key] = prepare(self.tensors, *key, scale=self.settings.scale)
            state.projections = self._prepared[key]
        try:
            return state.projections[where]
        except KeyError:
            raise UnsupportedPipeline(
                f"forceforget was not trained for the layer {where[0]}: it belongs to another denoiser."
            ) from None

    def _project_text(self, context: Tensor, projected: Tensor, projection: Projection) -> Tensor:
        if context.shape[1] < self.settings.rows:
            raise UnsupportedPipeline(
                f"the text states have {context.shape[1]} rows, and forceforget's adapter projects the "
                f"{self.settings.tokens} at the {self.settings.position} of {self.settings.rows}: pad the prompt "
                "to the full length (padding='max_length', or a max_sequence_length as it was trained with)."
            )
        if self.settings.scale == 0:
            return projected
        if projection.adapter is None:
            return low_rank(context, projected, projection)
        split = self.settings.tokens
        if self.settings.position == "begin":
            own, rest = context[:, :split], slice(split, None)
        else:
            own, rest = context[:, -split:], slice(None, -split)
        outside = low_rank(context[:, rest], projected[:, rest], projection)
        adapted = own @ projection.adapter
        if projection.bias is not None:
            adapted = adapted + projection.bias
        stock = projected[:, :split] if self.settings.position == "begin" else projected[:, -split:]
        if projection.beside:
            adapted = stock + adapted
        elif self.settings.scale < 1:
            adapted = adapted + (1 - self.settings.scale) * stock
        return torch.cat([adapted, outside] if self.settings.position == "begin" else [outside, adapted], 1)


def low_rank(context: Tensor, projected: Tensor, projection: Projection) -> Tensor:
    """``projected`` + ``context`` Delta, for (rows, L, D) and (rows, L, C)."""
    if projection.down is None:
        return projected
    thin = context if projection.up is None else context @ projection.down
    last = projection.down if projection.up is None else projection.up
    flat = torch.addmm(projected.reshape(-1, projected.shape[-1]), thin.reshape(-1, thin.shape[-1]), last)
    return flat.view(projected.shape)


def prepare(
    tensors: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype, *, scale: float = 1.0
) -> dict[tuple[str, str], Projection]:
    """Each projection's matrices, transposed, scaled and cast once; differentiable.

    ``scale`` weighs everything that is added and the adapter itself.
    """
    prepared = {}
    for layer, which in sorted({tuple(name.rsplit(".", 2)[:2]) for name in tensors}):
        name = f"{layer}.{which}"
        lora = tensors.get(f"{name}.lora_down"), tensors.get(f"{name}.lora_up")
        down, up = _lora(*lora, scale, device, dtype)
        full, beside = tensors.get(f"{name}.adapter"), f"{name}.adapter_down" in tensors
        if beside:
            full = tensors[f"{name}.adapter_up"].float() @ tensors[f"{name}.adapter_down"].float()
        adapter = None if full is None else (scale * full.float()).T.to(device, dtype).contiguous()
        own = tensors.get(f"{name}.{BIAS}")
        bias = None if own is None else (scale * own.float()).to(device, dtype)
        prepared[layer, which.removeprefix("to_")] = Projection(down, up, adapter, beside, bias)
    return prepared


def _lora(
    down: Tensor | None, up: Tensor | None, scale: float, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor | None, Tensor | None]:
    """(D, r) and (r, C) where that is cheaper, else their product (D, C) and None."""
    if down is None or up is None or scale == 0:
        return None, None
    first, last = down.float().T, scale * up.float().T
    if up.shape[0] >= WIDE:
        return first.to(device, dtype).contiguous(), last.to(device, dtype).contiguous()
    return (first @ last).to(device, dtype).contiguous(), None
