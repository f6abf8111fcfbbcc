"""Every row is somebody's; whoever is alone needs no process group. Two processes: `test_two_processes`."""

import pytest

from stanchion.learning.workers import ALONE, Workers


@pytest.mark.parametrize(("count", "size"), [(7, 2), (8, 3), (1, 4), (0, 2)])
def test_every_row_is_somebodys(count, size):
    rows = [row for rank in range(size) for row in range(count)[Workers(rank, size).mine(count)]]
    assert rows == list(range(count))


def test_alone_without_torchrun(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert Workers.start() == ALONE
    assert ALONE.first
