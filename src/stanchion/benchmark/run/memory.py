"""The most memory in use while something ran: of the accelerator, or of this process on Linux."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
FORGET_PEAK = "5"  # proc(5): the peak of the resident set begins anew


class Peak:
    """A context; ``mib`` is the peak within it, weights and all, or None where that can't be known.

    Args:
        device: of the pipeline. On a CPU the whole process counts: whatever else it holds is in the number.
    """

    def __init__(self, device: Any) -> None:
        self.device = device
        self.mib: float | None = None
        self._forgotten = False

    def __enter__(self) -> Self:
        if self.device.type == "cuda":
            _cuda().reset_peak_memory_stats(self.device)
        else:
            self._forgotten = _forget()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.device.type == "cuda":
            self.mib = _cuda().max_memory_allocated(self.device) / 2**20
        elif self.device.type == "cpu" and self._forgotten:
            self.mib = _resident_peak()


def _forget() -> bool:
    """Whether the peak could be reset: not on every system, nor in every sandbox."""
    try:
        CLEAR.write_text(FORGET_PEAK)
    except OSError:
        return False
    return True


def _resident_peak() -> float | None:
    peaks = [line.split()[1] for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:")]
    return int(peaks[0]) / 2**10 if peaks else None


def _cuda() -> Any:
    import torch

    return torch.cuda
