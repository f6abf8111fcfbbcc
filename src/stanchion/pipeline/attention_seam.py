"""Attention guards act on the cross-attention projections, by native hooks that live as long as one call.

They are put on whatever ``to_k``, ``to_v`` and ``to_q`` are when the call begins, so a LoRA layer that was loaded
meanwhile is inside; a processor that goes round the projections (fused ones do) is noticed in the same pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import GuardBypassed, StanchionError, UnsupportedPipeline
from .record import Record


class AttentionSeam:
    """Hooks on every cross-attention projection that some guard asks for."""

    def __init__(self, denoiser: nn.Module, records: list[Record]) -> None:
        self.records = records
        wanted = {which for record in records for which in record.guard.projections}
        self._layers = _projections(denoiser, wanted) if wanted else {}
        self._hit: set[tuple[str, str]] = set()
        self._peaks: list[tuple[Record, str, Tensor]] = []  # the largest value of each result of this pass
        self._seen: dict[tuple[Record, str], tuple[Tensor, int]] = {}  # results of the text, which stay the same
        if records and not self._layers:
            raise UnsupportedPipeline("the denoiser has no cross-attention layer (attn2) for an attention guard.")

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Keep the hooks on for one call."""
        handles = [
            layer.register_forward_hook(self._hook(name, which)) for (name, which), layer in self._layers.items()
        ]
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

    def _hook(self, name: str, which: str) -> Any:
        what = f"{name}.to_{which}"
        guarding = [record for record in self.records if which in record.guard.projections]

        @torch.compiler.disable
        def hook(module: nn.Module, args: tuple[Tensor, ...], projected: Tensor) -> Tensor:
            self._hit.add((name, which))
            for record in guarding:
                try:
                    result = record.guard.project(name, which, args[0], projected, record.state)
                except StanchionError:
                    raise
                except Exception as error:
                    raise record.failure(error) from error
                record.check_shape(what, result, projected.shape)
                if which != "q":
                    self._look(record, what, result)
                projected = result.to(projected.dtype)
            return projected

        return hook

    def _look(self, record: Record, what: str, result: Tensor) -> None:
        """Keep the largest value of a result for ``_check``; the tensor of an earlier pass needs no second look."""
        seen = self._seen.get((record, what))
        if seen is not None and seen[0] is result and seen[1] == result._version:
            return
        self._peaks.append((record, what, result.detach().abs().amax()))
        self._seen[record, what] = (result, result._version)


def _projections(denoiser: nn.Module, wanted: set[str]) -> dict[tuple[str, str], nn.Module]:
    layers = [(name, module) for name, module in denoiser.named_modules() if name.endswith("attn2")]
    return {(name, which): getattr(module, f"to_{which}") for name, module in layers for which in sorted(wanted)}
