"""The closed form of UCE against what its equation promises."""

from __future__ import annotations

import pytest
import torch

import tiny
from closeness import near, same_bits
from stanchion import Concept, ConfigError
from stanchion.pipeline.model.workbench import Workbench
from stanchion.training.recipe import train_guard
from stanchion.training.recipes.uce import UCERecipe, _aligned, _whole, edit_map

WIDTH = 12


def states(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


C, G, P, W = states(3, 0), states(3, 1), states(4, 2), states(5, 3)
FORCES = {"erase": 1.5, "preserve": 0.7, "ridge": 0.3}


# --- chapter 4 of the specification, 1 to 6 ----------------------------------------------------------


def test_1_a_guide_that_is_the_concept_changes_nothing():
    torch.testing.assert_close(edit_map(C, C, P, **FORCES), torch.eye(WIDTH, dtype=torch.float64))


def test_2_nothing_to_erase_changes_nothing():
    torch.testing.assert_close(edit_map(C, G, P, **{**FORCES, "erase": 0.0}), torch.eye(WIDTH, dtype=torch.float64))


def test_3_one_pair_is_the_rank_one_formula():
    c, g = C[0], G[0]
    edited = W @ edit_map(C[:1], G[:1], P, erase=1.5, preserve=0.0, ridge=0.3)
    torch.testing.assert_close(edited, W + 1.5 * torch.outer(W @ (g - c), c) / (0.3 + 1.5 * c @ c))


def test_4_the_gradient_of_the_ridge_objective_is_zero():
    edited = (W @ edit_map(C, G, P, **FORCES)).requires_grad_(True)
    objective = (
        1.5 * (C @ edited.T - G @ W.T).square().sum()
        + 0.7 * (P @ edited.T - P @ W.T).square().sum()
        + 0.3 * (edited - W).square().sum()
    )
    objective.backward()
    assert edited.grad.abs().max() < 1e-9


def test_5_without_ties_every_state_reads_as_its_guide():
    edited = W @ edit_map(C, G, P, erase=1.0, preserve=0.0, ridge=1e-9)
    torch.testing.assert_close(C @ edited.T, G @ W.T, atol=1e-6, rtol=0)


def test_6_what_is_kept_moves_less_the_more_it_is_kept():
    moved = []
    for preserve in (0.0, 0.1, 1.0, 10.0):
        edited = W @ edit_map(C, G, P, erase=1.0, preserve=preserve, ridge=0.3)
        moved.append((P @ (edited - W).T).norm().item())
    assert moved == sorted(moved, reverse=True) and moved[-1] < 0.5 * moved[0]


def test_6b_only_keys_and_values_change(pipe):
    guard = tiny.guard("uce")
    layers = [path for path, _ in pipe.unet.named_modules() if path.endswith("attn2")]
    expected = {f"unet.{path}.{which}.weight" for path in layers for which in ("to_k", "to_v")}
    assert set(guard.tensors) == expected
    parameters = dict(pipe.unet.named_parameters())
    assert all(not same_bits(value.float(), parameters[key[5:]]) for key, value in guard.tensors.items())


# --- the recipe --------------------------------------------------------------------------------------


def test_tails_begin_at_the_last_own_token(pipe):
    bench = Workbench(pipe)
    erased, guides = bench.read(["a knife", "a gun"]), bench.read(["a red cat", ""])
    c, g = _aligned(erased, guides, "tail")
    length = erased.embeds.shape[1]
    assert len(c) == (length - 3) + (length - 2)
    torch.testing.assert_close(c[0], erased.embeds[0, 2].double())
    torch.testing.assert_close(g[0], guides.embeds[0, 3].double())
    torch.testing.assert_close(g[length - 3], guides.embeds[1, 0].double())  # the empty text's is its start token
    last, _ = _aligned(erased, guides, "last")
    torch.testing.assert_close(last, torch.stack([erased.embeds[0, 2], erased.embeds[1, 2]]).double())
    assert len(_whole(erased, "tail")) == 2 * length and len(_whole(erased, "last")) == 2


@pytest.mark.parametrize("setting", ["keep", "guide"])
def test_a_phrase_to_erase_and_to_keep_is_refused(setting, pipe, tmp_path):
    with pytest.raises(ConfigError, match="a knife"):
        train_guard("uce", pipe, "weapons", tmp_path, **{setting: ("a knife",)})


@pytest.mark.parametrize("preset", UCERecipe.presets)
def test_every_preset_edits(preset, pipe, tmp_path):
    guard = train_guard("uce", pipe, "weapons", tmp_path, preset=preset)
    plain = tiny.draw(pipe, "a photo of a knife")
    with guard.attach(pipe):
        assert not near(tiny.draw(pipe, "a photo of a knife"), plain)


def test_a_style_needs_no_anchor(pipe, tmp_path):
    guard = train_guard("uce", pipe, Concept("ink", "style", ("in ink style",)), tmp_path, preset="tiny")
    assert guard.tensors


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ConfigError, match="ridge"):
        UCERecipe("weapons", ridge=0.0)
