"""What one guard did in one call, gathered on the device and read once, at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ...errors import GuardFailed, StanchionError
from .reports import GuardReport


class Record:
    """A guard, its state in this call, and what it reports."""

    def __init__(self, guard: Any, call: Any) -> None:
        self.guard = guard
        self._active: list[Tensor] = []
        self._scores: dict[str, list[Tensor]] = {}
        self._details: tuple[Mapping[str, Any], ...] = ()
        with self.blame():
            self.state = guard.begin(call)

    @contextmanager
    def blame(self) -> Iterator[None]:
        """Turn whatever goes wrong inside the guard into GuardFailed: no image without it."""
        try:
            yield
        except StanchionError:
            raise
        except Exception as error:
            raise self.failure(error) from error

    def failure(self, error: Exception) -> GuardFailed:
        """What to raise for an error inside the guard."""
        return GuardFailed(f"guard {self.guard.name!r} failed: {error!r}; no image was made.")

    def check(self, what: str, tensor: Any, shape: torch.Size) -> None:
        """Refuse a tensor of the wrong shape, and NaN and infinity."""
        self.check_shape(what, tensor, shape)
        if not torch.isfinite(tensor).all():
            raise self.not_finite(what)

    def check_shape(self, what: str, tensor: Any, shape: torch.Size) -> None:
        """Refuse what is no tensor or one of the wrong shape."""
        if isinstance(tensor, Tensor) and tensor.shape == shape:
            return
        found = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
        raise GuardFailed(f"guard {self.guard.name!r}: {what} is {found}, expected {tuple(shape)}; no image was made.")

    def not_finite(self, what: str) -> GuardFailed:
        """What to raise where a guard gave NaN or infinity."""
        return GuardFailed(f"guard {self.guard.name!r}: {what} holds NaN or infinity; no image was made.")

    def note(
        self,
        acted: Tensor,
        scores: Mapping[str, Tensor] | None = None,
        details: tuple[Mapping[str, Any], ...] = (),
    ) -> None:
        """One more time that the guard ran: (B,) bool who was touched, (B,) numbers by name."""
        self._active.append(acted.detach().bool())
        for name, values in (scores or {}).items():
            self._scores.setdefault(name, []).append(values.detach())
        self._details = (*self._details, *details)

    def report(self, batch: int) -> GuardReport:
        """Plain values for ``batch`` pictures. A guard that touches all pictures alike notes a single row."""
        rows = [row.expand(batch).cpu() for row in self._active]
        counts = torch.stack(rows).sum(0).tolist() if rows else [0] * batch
        return GuardReport(
            guard=self.guard.name,
            stage=str(self.guard.stage),
            acted=tuple(count > 0 for count in counts),
            active_steps=tuple(counts),
            acted_at=tuple(tuple(row.tolist()) for row in rows),
            scores={
                name: tuple(tuple(row.expand(batch).float().tolist()) for row in series)
                for name, series in self._scores.items()
            },
            details=self._details,
        )
