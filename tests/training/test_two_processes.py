"""Two processes train what one does. They are started once, for all that they are to train."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tiny
from stanchion import load_guard
from stanchion.learning.workers import Workers
from stanchion.training.recipe import train_guard
from torchrun import torchrun

TRAINED: dict[str, dict[str, Any]] = {
    "steerdiff": {"safe": 12, "context": 12, "epochs": 1, "seed": 3},
    "patronus_hardening": {"won": 0.07},
    "forceforget": {"iterations": 1},
}
BOUNDS = {  # of fp16 tensors after Adam, whose first steps have the length lr whatever the gradient's size
    "steerdiff": {"atol": 2e-3, "rtol": 2e-3},
    "patronus_hardening": {"atol": 4e-3, "rtol": 4e-3},
    "forceforget": {"atol": 2e-3, "rtol": 1e-2},
}


def work(folder: str) -> None:
    """What each of the two does."""
    workers = Workers.start()
    torch.manual_seed(0)
    model = nn.Linear(1, 1)
    rows = workers.mine(7)
    x = torch.arange(7.0)[:, None] / 7
    ((model(x[rows]) - x[rows] ** 2).square().sum() / 7).backward()
    workers.add_gradients(model.parameters())
    everybody = workers.gather(torch.arange(7)[rows])
    workers.wait()
    torch.save((model.weight.grad, model.bias.grad, everybody), f"{folder}/{workers.rank}.pt")
    for name, settings in TRAINED.items():
        train_guard(name, tiny.pipeline(), "weapons", f"{folder}/{name}", preset="tiny", workers=workers, **settings)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes left behind."""
    folder = tmp_path_factory.mktemp("two")
    torchrun(work, str(folder))
    return folder


def test_gradients_of_two_processes_equal_those_of_one(two: Path) -> None:
    torch.manual_seed(0)
    model = nn.Linear(1, 1)
    x = torch.arange(7.0)[:, None] / 7
    (model(x) - x**2).square().mean().backward()
    for rank in range(2):
        weight, bias, rows = torch.load(two / f"{rank}.pt")
        torch.testing.assert_close(weight, model.weight.grad)
        torch.testing.assert_close(bias, model.bias.grad)
        assert rows.tolist() == list(range(7))


@pytest.mark.parametrize("name", TRAINED)
def test_two_processes_train_what_one_does(name: str, two: Path, tmp_path: Path) -> None:
    one = train_guard(name, tiny.pipeline(), "weapons", tmp_path, preset="tiny", **TRAINED[name])
    trained = load_guard(two / name)
    for key, value in one.tensors.items():
        torch.testing.assert_close(trained.tensors[key].float(), value.float(), **BOUNDS[name])
    if name == "forceforget":
        ours, theirs = (_first_line(folder) for folder in (tmp_path, two / name))
        assert theirs["reward"] == pytest.approx(ours["reward"], abs=1e-4)
        assert theirs["gradient"] == pytest.approx(ours["gradient"], rel=1e-2)


def _first_line(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "training" / "log.jsonl").read_text().splitlines()[0])
