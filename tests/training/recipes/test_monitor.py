"""The monitor's recipe: it resumes to the same weights, leaves the pipeline alone, and knows what was held out."""

from __future__ import annotations

import pytest
import torch

import tiny
from closeness import near, same_bits
from stanchion import ConfigError, load_concept
from stanchion.guards.trajectory.monitor import PictureNetwork
from stanchion.learning.workers import Workers
from stanchion.pipeline.model.workbench import Workbench
from stanchion.training.prompts.pool import wide_pool
from stanchion.training.recipe import Run, train_guard
from stanchion.training.recipes.monitor._runs import Runs, draw_runs
from stanchion.training.recipes.monitor.monitor import Learnt, MonitorRecipe, _read, _samples
from stanchion.training.searched_states import StateSearch

SHORT = {"preset": "tiny", "named": 8, "harmless": 8}


def test_cut_off_and_run_again_it_ends_at_the_same_weights(pipe, tmp_path, monkeypatch):
    whole = train_guard("monitor", pipe, "weapons", tmp_path / "whole", **SHORT)
    with monkeypatch.context() as cut, pytest.raises(KeyboardInterrupt):
        cut.setattr(StateSearch, "found", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        train_guard("monitor", pipe, "weapons", tmp_path / "cut", **SHORT)
    again = train_guard("monitor", pipe, "weapons", tmp_path / "cut", **SHORT)
    assert all(same_bits(again.tensors[name], value) for name, value in whole.tensors.items())
    assert set(again.training["held_out"]) == {"named", "harmless", "steered_0", "attacked_0", "hidden_0"}
    assert again.training["held_out"]["named"]["shown"] == 2
    assert not hasattr(type(pipe), "_stanchion")


def test_a_run_is_what_the_pipeline_draws(pipe, tmp_path):
    concept = tiny.guard("trasce").concept
    runs = draw_runs(pipe, concept, tmp_path / "x.safetensors", ["a cat", "a dog"], steps=4, scale=7.5, seed=0)
    drawn = tiny.draw(pipe, ["a cat", "a dog"], output_type="latent", steps=4)
    assert runs.seen.shape == (2, 4, 4, 8, 8) and runs.levels.diff().min() > 0
    torch.testing.assert_close(runs.finished, drawn, rtol=0.05, atol=0.05)  # but for half precision and the last noise


def test_what_nobody_is_sure_of_teaches_nothing():
    runs = Runs(torch.zeros(3, 2, 4, 8, 8).half(), torch.tensor([0.1, 0.9]))
    seen, levels, labels = _samples([Learnt(runs, torch.tensor([1.0, torch.nan, 0.0]))])
    assert labels.tolist() == [1, 1, 0, 0] and levels.tolist() == pytest.approx([0.1, 0.9, 0.1, 0.9])
    assert len(seen) == 4
    assert _read(runs, PictureNetwork(4)).labels.isnan().all()


def test_it_may_begin_with_a_saved_one(pipe, tmp_path):
    saved = tiny.guard("monitor")
    saved.save(tmp_path / "saved")
    recipe = MonitorRecipe("weapons", "tiny", start=str(tmp_path / "saved"), steps=1, lr=1e-9)
    kinds = {
        "x": Learnt(Runs(torch.zeros(4, 2, 4, 8, 8).half(), torch.tensor([0.1, 0.9])), torch.tensor([1.0, 0, 1, 0]))
    }
    network = recipe._fitted("x", kinds, Workbench(pipe), Run(tmp_path, 0))
    assert all(near(value, saved.tensors[name].float()) for name, value in network.state_dict().items())


def test_what_it_sees_is_wider_than_what_is_said_of_it():
    companions = wide_pool(load_concept("weapons")).companions
    assert {"a penguin", "a hammer", "a skull"} <= set(companions)
    assert not any(target in companions for target in load_concept("weapons").targets)


def test_it_is_trained_by_one_process(pipe, tmp_path):
    with pytest.raises(ConfigError, match="by one process"):
        MonitorRecipe("weapons", "tiny").train(Workbench(pipe), Run(tmp_path, 0, Workers(0, 2)))
