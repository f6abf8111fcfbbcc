"""Two processes take the step that one would have taken; whoever is alone needs no process group."""

import pytest
import torch
from torch import nn

from stanchion.training.parallel import ALONE, Workers
from torchrun import torchrun

WORK = """
import sys
import torch
from torch import nn
from stanchion.training.parallel import Workers

workers = Workers.start()
torch.manual_seed(0)
model = nn.Linear(1, 1)
rows = workers.mine(7)
x = torch.arange(7.0)[:, None] / 7
((model(x[rows]) - x[rows] ** 2).square().sum() / 7).backward()
workers.add_gradients(model.parameters())
everybody = workers.gather(torch.arange(7)[rows])
workers.wait()
torch.save((model.weight.grad, model.bias.grad, everybody), f"{sys.argv[1]}/{workers.rank}.pt")
"""


def test_gradients_of_two_processes_equal_those_of_one(tmp_path):
    script = tmp_path / "work.py"
    script.write_text(WORK)
    torchrun(script, str(tmp_path))
    torch.manual_seed(0)
    model = nn.Linear(1, 1)
    x = torch.arange(7.0)[:, None] / 7
    (model(x) - x**2).square().mean().backward()
    for rank in range(2):
        weight, bias, rows = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(weight, model.weight.grad)
        torch.testing.assert_close(bias, model.bias.grad)
        assert rows.tolist() == list(range(7))


@pytest.mark.parametrize(("count", "size"), [(7, 2), (8, 3), (1, 4), (0, 2)])
def test_every_row_is_somebodys(count, size):
    rows = [row for rank in range(size) for row in range(count)[Workers(rank, size).mine(count)]]
    assert rows == list(range(count))


def test_alone_without_torchrun(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert Workers.start() == ALONE
    assert ALONE.first
