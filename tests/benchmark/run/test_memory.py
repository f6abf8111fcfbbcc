"""The peak of a call is its own, not that of what ran before it."""

import numpy as np
import pytest
import torch

from stanchion.benchmark.run import memory
from stanchion.benchmark.run.memory import Peak

CPU = torch.device("cpu")


def _touch(mib: int) -> None:
    np.ones(mib << 20, np.uint8)


@pytest.mark.skipif(not memory.CLEAR.exists(), reason="only Linux counts a process's peak anew")
def test_a_big_call_is_seen_and_forgotten() -> None:
    with Peak(CPU) as small:
        pass
    with Peak(CPU) as big:
        _touch(200)
    with Peak(CPU) as after:
        pass
    assert small.mib is not None
    assert big.mib is not None
    assert after.mib is not None
    assert 190 < big.mib - small.mib < 300
    assert big.mib - after.mib > 190


def test_where_it_cannot_be_counted_anew_it_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(memory, "CLEAR", tmp_path / "nowhere" / "clear_refs")
    with Peak(CPU) as peak:
        pass
    assert peak.mib is None
