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

from ..errors import GuardBypassed, UnsupportedPipeline
from .record import Record


class AttentionSeam:
    """Hooks on every cross-attention projection that some guard asks for."""

    def __init__(self, denoiser: nn.Module, records: list[Record]) -> None:
        self.records = records
        self._wanted = {which for record in records for which in record.guard.projections}
        self._layers = _projections(denoiser, self._wanted)
        self._hit: set[tuple[str, str]] = set()
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

    def _hook(self, name: str, which: str) -> Any:
        @torch.compiler.disable
        def hook(module: nn.Module, args: tuple[Tensor, ...], projected: Tensor) -> Tensor:
            self._hit.add((name, which))
            for record in self.records:
                if which not in record.guard.projections:
                    continue
                with record.blame():
                    result = record.guard.project(name, which, args[0], projected, record.state)
                record.check(f"{name}.to_{which}", result, projected.shape)
                projected = result.to(projected.dtype)
            return projected

        return hook


def _projections(denoiser: nn.Module, wanted: set[str]) -> dict[tuple[str, str], nn.Module]:
    layers = [(name, module) for name, module in denoiser.named_modules() if name.endswith("attn2")]
    return {(name, which): getattr(module, f"to_{which}") for name, module in layers for which in sorted(wanted)}
