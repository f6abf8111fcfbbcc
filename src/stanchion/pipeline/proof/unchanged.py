"""What a guard was attached to must hold what it held: weights and tokens, compared by value in every call.

Neither identity nor a version counter says what a tensor holds: ``.data`` writes past both. So weights are summed up
(``checksums.py``) before a picture is handed out. When a call begins a glance at pointers and versions does: what it
misses is found at the end. Costs: see ``Unchanged``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import GuardBypassed, UnsupportedPipeline
from ..attach.guarded_class import unwrapped
from ..families import Family
from ..stages import Stage
from .checksums import checksums
from .every_part import every_part
from .structure import Structure

HALVES = (torch.float16, torch.bfloat16)


class Unchanged:
    """Text encoder, tokenizer, and whatever else the guards depend on, as it was when they were attached.

    On the reference model the text encoder takes 0.3 % of a picture's time, the denoiser (for a guard that was trained
    on it) 1.3 %. 5 GB of T5 are read at the memory's speed: milliseconds on a GPU, where its pictures take seconds;
    under a second on a CPU, where they take minutes. A tokenizer of 36,000 entries takes 14 ms.
    """

    def __init__(self, pipe: Any, guards: Sequence[Any], family: Family) -> None:
        self._pipe = pipe
        parts = {name: getattr(pipe, name) for name in _parts(guards, family)}
        held = {name: part for name, part in parts.items() if part is not None}
        self._kept = {name: _remember(part, exact=name in family.encoders) for name, part in held.items()}
        self._seen = {name: kept.glance(parts[name]) for name, kept in self._kept.items()}

    def check(self, *, contents: bool = True) -> None:
        """Raise where something was written to, resized or adapted since.

        Args:
            contents: read every value; otherwise only of parts that look as if they had been written to.

        Raises:
            GuardBypassed: it was. Another floating-point type is the same content, as far as that can hold it.
        """
        for name, kept in self._kept.items():
            part = unwrapped(self._pipe, name)
            seen = None if part is None or contents else kept.glance(part)
            if seen is not None and seen == self._seen[name] and not kept.rebuilt():
                continue
            if changed := "it is gone" if part is None else kept.changed(part):
                raise GuardBypassed(
                    f"pipe.{name} was changed since the guard was attached ({changed}), and the guard belongs to what "
                    "it was. Put that back, or detach and attach again."
                )
            if seen is not None:
                self._seen[name] = seen


def _parts(guards: Sequence[Any], family: Family) -> list[str]:
    """What every guard reads its concept with, what some were trained on, and the decoder that one stands behind."""
    trained = {family.named(name) for guard in guards for name in guard.base if name != "weights"}
    decoder = {"vae" for guard in guards if guard.stage is Stage.DECODER}
    return sorted({*family.encoders} | trained | decoder)


def _remember(part: Any, *, exact: bool) -> _Weights | _Tokens:
    return _Weights(part, exact=exact) if isinstance(part, nn.Module) else _Tokens(part)


class _Weights:
    """A module's parameters and buffers, and the parts that hold them."""

    def __init__(self, module: nn.Module, *, exact: bool) -> None:
        self._structure = Structure(module, exact=exact)
        held = dict(_tensors(module))
        own = _sums(held)
        self._kept = {name: {value.dtype: own[name]} for name, value in held.items()}
        for half in HALVES:  # the module may be cast later on
            cast = {name: value.to(half) for name, value in held.items() if value.dtype is torch.float32}
            for name, total in _sums(cast).items():
                self._kept[name][half] = total
        self._own = [(value.dtype, own[name]) for name, value in held.items()]

    def glance(self, module: nn.Module) -> Any:
        """What is another where somebody wrote to the tensors in the usual ways."""
        return [
            (id(value), value.data_ptr(), -1 if value.is_inference() else value._version) for value in _values(module)
        ]

    def rebuilt(self) -> str:
        """What was put in the place of a part; nothing where all are there."""
        return self._structure.changed()

    def changed(self, module: nn.Module) -> str:
        """The first thing that is not what it was; nothing where all are. More tensors may have come: fused copies."""
        if _in_order(module) == self._own:
            return self.rebuilt()
        held = {name: self._as_kept(name, value) for name, value in _tensors(module) if name in self._kept}
        if gone := [name for name in self._kept if name not in held]:
            return f"{gone[0]} was replaced, or an adapter lies over it"
        sums = _sums(held)
        other = [name for name, value in held.items() if sums[name] != self._kept[name].get(value.dtype)]
        return f"{other[0]}, one of {len(other)}" if other else self.rebuilt()

    def _as_kept(self, name: str, value: Tensor) -> Tensor:
        """What was cast up is cast down again."""
        kept = self._kept[name]
        return value.to(next(iter(kept))) if value.dtype is torch.float32 and value.dtype not in kept else value


class _Tokens:
    """A tokenizer, or that of a processor: its vocabulary, its added tokens, and its rules."""

    def __init__(self, tokenizer: Any) -> None:
        self._kept = _rules(tokenizer)

    def glance(self, tokenizer: Any) -> Any:
        """What is another where the tokenizer was replaced or learnt a token."""
        return id(tokenizer), len(getattr(tokenizer, "tokenizer", tokenizer))

    def rebuilt(self) -> str:
        """Nothing: it has no parts."""
        return ""

    def changed(self, tokenizer: Any) -> str:
        """The first thing that is not what it was; nothing where all are."""
        rules = _rules(tokenizer)
        return next((what for what, value in self._kept.items() if rules[what] != value), "")


def _rules(held: Any) -> dict[str, Any]:
    tokenizer = getattr(held, "tokenizer", held)
    backend = getattr(tokenizer, "_tokenizer", None)  # of the fast ones; what it was told of padding comes first
    table = tokenizer.get_vocab() if backend is None else hash(backend.to_str().partition('"added_tokens":')[2])
    named = (
        "model_max_length",
        "padding_side",
        "truncation_side",
        "split_special_tokens",
        "special_tokens_map",
        "chat_template",
    )
    about = {name: getattr(tokenizer, name, None) for name in named}
    return {
        "its size": len(tokenizer),
        "its entries": table,
        "its template": getattr(held, "chat_template", None),
    } | about


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every parameter and buffer by its path, also those that accelerate keeps elsewhere between uses."""
    for path, part in module.named_modules():
        own = (*part.named_parameters(recurse=False), *part.named_buffers(recurse=False))
        for name, value in own:
            yield f"{path}.{name}", _offloaded(part, path, name) if value.is_meta else value.detach()


def _values(module: nn.Module) -> Iterator[Tensor]:
    """The same in the same order, as they are and without their paths: in a third of the time, for every call."""
    for part in every_part([module]):
        for held in (part._parameters, part._buffers):
            yield from (value for value in held.values() if value is not None)


def _in_order(module: nn.Module) -> list[tuple[torch.dtype, int]]:
    """The sums of all that it holds, whatever their names; none where some of it is elsewhere."""
    values = list(_values(module))
    if any(value.is_meta for value in values):
        return []
    return list(zip([value.dtype for value in values], checksums(values), strict=True))


def _offloaded(part: nn.Module, path: str, name: str) -> Tensor:
    hook = getattr(part, "_hf_hook", None)
    for one in (hook, *getattr(hook, "hooks", ())):
        if getattr(one, "weights_map", None) is not None:
            value: Tensor = one.weights_map[name]
            return value
    raise UnsupportedPipeline(f"{path}.{name} is on the meta device, so nobody can see whether it stays what it was.")


def _sums(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    return dict(zip(tensors, checksums(list(tensors.values())), strict=True))
