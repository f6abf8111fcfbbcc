"""Attention guards act on the cross-attention projections, by native hooks that live as long as one call.

They are put on whatever ``to_k``, ``to_v`` and ``to_q`` are when the call begins, so a LoRA layer that was loaded
meanwhile is inside; a processor that goes round the projections (fused ones do) is noticed in the same pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...errors import GuardBypassed, StanchionError, UnsupportedPipeline
from ..attach.guard_record import Record
from ..proof.checksums import checksums


class AttentionSeam:
    """Hooks on every cross-attention projection that some guard asks for."""

    def __init__(self, denoiser: nn.Module, records: list[Record]) -> None:
        self.records = records
        wanted = {which for record in records for which in record.guard.projections}
        self._attentions = _attentions(denoiser) if wanted else {}
        self._layers = {
            (name, which): getattr(attention, f"to_{which}")
            for name, attention in self._attentions.items()
            for which in sorted(wanted)
        }
        self._hit: set[tuple[str, str]] = set()
        self._peaks: list[tuple[Record, str, Tensor]] = []  # the largest value of each result of this pass
        self._known: dict[tuple[str, str], _Known] = {}  # K and V of the text, which stay the same in every step
        if records and not self._layers:
            raise UnsupportedPipeline("the denoiser has no cross-attention layer (attn2) for an attention guard.")

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Keep the hooks on for one call."""
        handles = []
        for (name, which), layer in self._layers.items():
            handles.append(layer.register_forward_hook(self._hook(name, which)))
            if which != "q":
                handles.append(layer.register_forward_pre_hook(self._spare(name, which)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """One pass of the denoiser: every projection must have been hit in it."""
        self._hit.clear()
        self._peaks.clear()
        for (name, which), layer in self._layers.items():
            if getattr(self._attentions[name], f"to_{which}") is not layer:
                raise GuardBypassed(
                    f"{name}.to_{which} was replaced in the middle of a call (a callback loaded an adapter?): load "
                    "adapters between calls."
                )
        yield
        missing = [f"{name}.to_{which}" for name, which in self._layers if (name, which) not in self._hit]
        if missing:
            raise GuardBypassed(
                f"{len(missing)} of {len(self._layers)} cross-attention projections were not run through their guard "
                f"(first: {missing[0]}). Fused projections and processors of their own hide them: undo "
                "fuse_qkv_projections, or use a standard attention processor."
            )
        for record in self.records:
            record.note(torch.ones(1, dtype=torch.bool))

    @contextmanager
    def interrupted(self) -> Iterator[None]:
        """Somebody else's code runs in this block: where it changes a layer, texts are projected anew."""
        before = {place: _contents(self._layers[place]) for place in self._known}
        yield
        for place, contents in before.items():
            if _contents(self._layers[place]) != contents:
                del self._known[place]

    def check(self, prediction: Tensor) -> None:
        """Refuse NaN and infinity, all projections of a pass at once: asking the device for each would cost more.

        Queries are not looked at: every one that holds either makes a softmax of NaN, so the ``prediction`` shows it.
        """
        if not self.records:
            return
        peaks = [peak.float().to(prediction.device) for _, _, peak in self._peaks]
        if torch.isfinite(torch.stack([prediction.float().sum(), *peaks])).all():
            return
        for record, what, peak in self._peaks:
            if not torch.isfinite(peak):
                raise record.not_finite(what)
        raise self.records[-1].not_finite("the prediction with its projections")

    def _spare(self, name: str, which: str) -> Any:
        """What is known of a text is not projected again: the layer gets none of its rows."""

        @torch.compiler.disable
        def hook(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
            known = self._known.get((name, which))
            if known is None or not known.holds(args[0]):
                self._known.pop((name, which), None)
                return None
            return (args[0][:, :0], *args[1:])

        return hook

    def _hook(self, name: str, which: str) -> Any:
        what = f"{name}.to_{which}"
        guarding = [record for record in self.records if which in record.guard.projections]

        @torch.compiler.disable
        def hook(module: nn.Module, args: tuple[Tensor, ...], projected: Tensor) -> Tensor:
            self._hit.add((name, which))
            known = self._known.get((name, which))
            if known is not None:
                return known.result
            for record in guarding:
                try:
                    result = record.guard.project(name, which, args[0], projected, record.state)
                except StanchionError:
                    raise
                except Exception as error:
                    raise record.failure(error) from error
                record.check_shape(what, result, projected.shape)
                if which != "q":
                    self._peaks.append((record, what, result.detach().abs().amax()))
                projected = result.to(projected.dtype)
            if which != "q" and _Known.may_keep(args[0], projected):
                self._known[name, which] = _Known(args[0], args[0]._version, projected, projected._version)
            return projected

        return hook


class _Known(NamedTuple):
    """A text and its projection, each with how often it had been written to."""

    context: Tensor
    context_version: int
    result: Tensor
    result_version: int

    @staticmethod
    def may_keep(*tensors: Tensor) -> bool:
        """No graph runs through them, and they count how often they are written to."""
        return not any(tensor.requires_grad or tensor.is_inference() for tensor in tensors)

    def holds(self, context: Tensor) -> bool:
        """Whether this is the same text, and neither has been changed since."""
        return (
            context is self.context
            and context._version == self.context_version
            and self.result._version == self.result_version
        )


def _attentions(denoiser: nn.Module) -> dict[str, nn.Module]:
    """The cross-attention layers by their paths."""
    return {name: module for name, module in denoiser.named_modules() if name.endswith("attn2")}


def _contents(layer: nn.Module) -> tuple[Any, ...]:
    """What a layer's projection depends on: weights, adapters and their settings."""
    modules = list(layer.modules())
    settings = [
        repr({key: value for key, value in vars(one).items() if key not in _OF_EVERY_MODULE}) for one in modules
    ]
    return modules, settings, checksums(list(layer.parameters()))


_OF_EVERY_MODULE = frozenset(vars(nn.Module())) - {"training"}
