"""The monitor's recipe: it resumes to the same weights, leaves the pipeline alone, and knows what was held out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tiny
from closeness import near, same_bits
from stanchion import ConfigError, load_concept
from stanchion.guards.trajectory.monitor import TEMPER, Monitor, PictureNetwork, network_of
from stanchion.learning.workers import Workers
from stanchion.pipeline.model.workbench import Workbench
from stanchion.training.prompts.pool import wide_pool
from stanchion.training.recipe import Run, train_guard
from stanchion.training.recipes.monitor._rows import Learnt, PictureReader, _blended, harder, read, samples
from stanchion.training.recipes.monitor._runs import Runs, draw_runs
from stanchion.training.recipes.monitor.monitor import MonitorRecipe
from stanchion.training.searched_states import StateSearch
from stanchion.types import Flagged

SHORT = {"preset": "tiny", "named": 8, "harmless": 8}


def test_cut_off_and_run_again_it_ends_at_the_same_weights(pipe, tmp_path, monkeypatch):
    whole = train_guard("monitor", pipe, "weapons", tmp_path / "whole", **SHORT)
    with monkeypatch.context() as cut, pytest.raises(KeyboardInterrupt):
        cut.setattr(StateSearch, "found", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        train_guard("monitor", pipe, "weapons", tmp_path / "cut", **SHORT)
    again = train_guard("monitor", pipe, "weapons", tmp_path / "cut", **SHORT)
    assert all(same_bits(again.tensors[name], value) for name, value in whole.tensors.items())
    assert set(again.training["held_out"]) == {
        "named",
        "harmless",
        "steered_0",
        "completed_0",
        "attacked_0",
        "watched_0",
        "hidden_0",
    }
    assert again.training["held_out"]["named"]["shown"] == 2
    assert not hasattr(type(pipe), "_stanchion")


def test_a_run_is_what_the_pipeline_draws(pipe, tmp_path):
    concept = tiny.guard("trasce").concept
    runs = draw_runs(pipe, concept, tmp_path / "x.safetensors", ["a cat", "a dog"], steps=4, scale=7.5, seed=0)
    drawn = tiny.draw(pipe, ["a cat", "a dog"], output_type="latent", steps=4)
    assert runs.seen.shape == (2, 4, 4, 8, 8) and runs.levels.diff().min() > 0
    torch.testing.assert_close(runs.finished, drawn, rtol=0.05, atol=0.05)  # but for half precision and the last noise


def test_what_the_unguarded_model_begins_goes_on_where_it_stopped(pipe, tmp_path):
    """Unguarded to the end it is the whole run, of which the first steps were not seen; guards act on the rest."""
    concept, about = tiny.guard("trasce").concept, {"steps": 4, "scale": 7.5, "seed": 0}
    whole = draw_runs(pipe, concept, tmp_path / "x.safetensors", ["a gun"], **about)
    rest = draw_runs(pipe, concept, tmp_path / "y.safetensors", ["a gun"], **about, begun=2)
    torch.testing.assert_close(rest.seen, whole.seen[:, 2:], rtol=0.01, atol=0.01)
    torch.testing.assert_close(rest.levels, whole.levels[2:])
    guards = [tiny.guard("negative_prompt")]
    ended = draw_runs(pipe, concept, tmp_path / "z.safetensors", ["a gun"], **about, begun=2, guards=guards)
    assert not near(ended.finished, whole.finished)
    assert type(pipe.scheduler).__name__ == "DDIMScheduler"


def test_a_blend_is_of_pictures_and_labels_alike():
    pictures = torch.arange(64.0)[:, None, None, None].expand(64, 4, 8, 8)
    clean, labels = _blended(pictures, torch.arange(64.0), np.random.default_rng(0))
    torch.testing.assert_close(clean[:, 0, 0, 0], labels)
    assert 0.3 < (labels != torch.arange(64.0)).float().mean() < 0.7


def test_a_row_is_moved_against_the_network():
    """By no more than it may be, and the loss is higher there."""
    network, (clean, labels, levels) = PictureNetwork(4), (torch.zeros(64, 4, 8, 8), torch.ones(64), torch.ones(64))
    changed, _, same = harder(network, clean, levels, labels, np.random.default_rng(0))
    assert labels.equal(same) and 0.05 < changed.abs().max() < 0.4
    assert network(changed, levels).mean() < network(clean, levels).mean()


def test_some_steps_are_left_to_the_guards():
    with pytest.raises(ConfigError, match="of 4 sampling steps 4"):
        MonitorRecipe("weapons", "tiny", begun=(1, 4))


@pytest.mark.parametrize(
    ("seen", "allowed", "thresholds"),
    [
        ((0.75, 0.75, 0.75), 0.005, (0.8, 0.8)),
        ((0.75, 0.75), 0.25, (0.3, 0.15)),
        ((0.75, 0.75, 0.22), 0.005, (0.8, 0.25)),
        ((0.1, 0.35, 0.1), 0.005, (0.3, 0.15)),  # one hit is not enough before the end
        ((0.35, 0.35, 0.1), 0.005, (0.4, 0.15)),
    ],
)
def test_its_thresholds_are_the_lowest_that_harmless_runs_let_stand(seen, allowed, thresholds, pipe, monkeypatch):
    """Of four held out one is seen so, step by step: a quarter of alarms is too many, or is not."""
    monkeypatch.setattr(Monitor, "hits", lambda guard, clean, _, last: _seen(guard, clean[:, 0, 0, 0], last))
    shown = torch.stack([torch.zeros(len(seen))] * 3 + [torch.tensor(seen)])
    runs = Runs(shown[..., None, None, None].expand(4, len(seen), 4, 8, 8).half(), torch.linspace(0.5, 0.9, len(seen)))
    kinds, recipe = (
        {"harmless": Learnt(runs, torch.zeros(4))},
        MonitorRecipe("weapons", "tiny", false_alarms=allowed, held_out=1),
    )
    settings = recipe._calibrated(PictureNetwork(4), kinds, Workbench(pipe)).settings
    assert (settings.threshold, settings.finished) == thresholds and settings.release == settings.threshold / 2


def _seen(guard, chance, last):
    return Flagged(chance >= (guard.settings.finished if last else guard.settings.threshold), chance.logit() / TEMPER)


def test_what_nobody_is_sure_of_teaches_nothing():
    runs = Runs(torch.zeros(3, 2, 4, 8, 8).half(), torch.tensor([0.1, 0.9]))
    seen, levels, labels = samples([Learnt(runs, torch.tensor([1.0, torch.nan, 0.0]))])
    assert labels.tolist() == [1, 1, 0, 0] and levels.tolist() == pytest.approx([0.1, 0.9, 0.1, 0.9])
    assert len(seen) == 4
    assert read(runs, PictureReader(PictureNetwork(4), 0.7)).labels.isnan().all()


def test_it_begins_with_what_one_knew_before(pipe, tmp_path):
    saved = tiny.guard("monitor")
    saved.save(tmp_path / "saved")
    recipe = MonitorRecipe("weapons", "tiny", steps=1, lr=1e-9)
    before = network_of(Monitor.load(tmp_path / "saved").tensors, torch.device("cpu"))
    kinds = {
        "x": Learnt(Runs(torch.zeros(4, 2, 4, 8, 8).half(), torch.tensor([0.1, 0.9])), torch.tensor([1.0, 0, 1, 0]))
    }
    network = recipe._fitted("x", kinds, before, Workbench(pipe), Run(tmp_path, 0))
    assert all(near(value, saved.tensors[name].float()) for name, value in network.state_dict().items())


def test_a_saved_one_is_calibrated_anew_and_learns_nothing(pipe, tmp_path):
    saved = tiny.guard("monitor")
    saved.save(tmp_path / "saved")
    recipe = MonitorRecipe("weapons", "tiny", start=str(tmp_path / "saved"), steps=0, held_out=1)
    guard = recipe.train(Workbench(pipe), Run(tmp_path, 0))
    assert all(value.equal(saved.tensors[name]) for name, value in guard.tensors.items())
    assert guard.training["held_out"].keys() == {"named", "harmless"}
    assert guard.training["held_out"]["harmless"]["clear"] == 16
    with pytest.raises(ConfigError, match="no saved one"):
        MonitorRecipe("weapons", "tiny", steps=0)


def test_what_it_sees_is_wider_than_what_is_said_of_it():
    companions = wide_pool(load_concept("weapons")).companions
    assert {"a penguin", "a hammer", "a skull"} <= set(companions)
    assert not any(target in companions for target in load_concept("weapons").targets)


def test_it_is_trained_by_one_process(pipe, tmp_path):
    with pytest.raises(ConfigError, match="by one process"):
        MonitorRecipe("weapons", "tiny").train(Workbench(pipe), Run(tmp_path, 0, Workers(0, 2)))
