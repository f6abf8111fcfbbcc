"""ForceForget's training: prompts, resuming, several processes, and what stops it from falling apart."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import tiny
from closeness import same_bits
from stanchion import Concept, ConfigError, ForceForget, load_concept
from stanchion.learning.policy_gradient import replay
from stanchion.pipeline.model.workbench import Workbench
from stanchion.reference import world
from stanchion.training.prompts.pool import TEMPLATES, PromptPool
from stanchion.training.recipe import Run, train_guard
from stanchion.training.recipes.forceforget import _ddpo as ddpo
from stanchion.training.recipes.forceforget._prompted_policy import Replaying
from stanchion.training.recipes.forceforget._reward_models import load_reward
from stanchion.training.recipes.forceforget._tether import Tether
from stanchion.training.recipes.forceforget.forceforget import ForceForgetRecipe, Settings
from stanchion.training.recipes.forceforget.refit.closed_form import Texts, kept_part, refitted
from tiny_families import flux

TINY = ForceForgetRecipe.presets["tiny"]


def trainer(folder, workers=None, concept="weapons", made=tiny.pipeline, **settings):
    concept, settings = load_concept(concept), Settings(**{**TINY, **settings})
    bench = Workbench(made())
    run = Run(folder, 0) if workers is None else Run(folder, 0, workers)
    folder.mkdir(parents=True, exist_ok=True)
    return ddpo.Trainer(bench, PromptPool(concept), load_reward(concept, settings, bench.device), settings, run)


def train(folder, **settings):
    return train_guard("forceforget", tiny.pipeline(), "weapons", folder, preset="tiny", **settings)


def log_of(folder):
    return [json.loads(line) for line in (folder / "training" / "log.jsonl").read_text().splitlines()]


# --- prompts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("concept", ["weapons", "ink", "banana"])
@pytest.mark.parametrize("kind", ["single", "pair", "benign", "near"])
def test_tasks_name_the_concept_and_want_something_else(concept, kind):
    concept = load_concept(concept)
    pool, rng = PromptPool(concept), np.random.default_rng(0)
    for _ in range(50):
        task = pool.draw(kind, rng)
        assert any(target in task.text for target in concept.targets) == (kind in ("single", "pair"))
        assert not any(target in task.wanted for target in concept.targets)


def test_a_pair_wants_its_companion_and_a_style_its_object():
    rng = np.random.default_rng(0)
    for concept in ("weapons", "ink"):
        pool = PromptPool(load_concept(concept))
        for _ in range(30):
            task = pool.draw("pair", rng)
            (companion,) = [phrase for phrase in pool.companions if phrase in task.wanted]
            assert companion in task.text


def test_what_is_near_is_a_neighbour_or_another_style():
    rng = np.random.default_rng(0)
    weapons, ink = PromptPool(load_concept("weapons")), PromptPool(load_concept("ink"))
    alone = PromptPool(Concept("x", "object", ("a key",)))
    for _ in range(30):
        texts = [pool.draw("near", rng).text for pool in (weapons, ink, alone)]
        assert any(name in texts[0] for name in weapons.concept.neighbours)
        assert texts[1].endswith(("in sepia", "in flat style"))
        assert any(phrase in texts[2] for phrase in alone.companions)


def test_what_is_measured_is_not_trained_on():
    assert not set(TEMPLATES) & set(world.HELD_OUT_TEMPLATES)
    measured = [template.split("{x}")[0] for template in world.HELD_OUT_TEMPLATES]
    pool, rng = PromptPool(load_concept("weapons")), np.random.default_rng(0)
    texts = [pool.draw(kind, rng).text for kind in ("single", "pair", "benign") for _ in range(100)]
    assert not any(text.startswith(start) for text in texts for start in measured if len(start) > 6)


def test_kinds_come_in_their_shares():
    rng = np.random.default_rng(0)
    assert sorted(ddpo.spread(np.array([0.25, 0.5, 0.25]), 4, rng)) == ["benign", "pair", "pair", "single"]
    drawn = [ddpo.spread(np.array([0.3, 0.7, 0.0]), 5, rng) for _ in range(200)]
    assert np.mean([kinds.count("single") for kinds in drawn]) == pytest.approx(1.5, abs=0.15)


# --- the loop ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [tiny.pipeline, flux.on_clip])
def test_ratios_are_one_right_after_drawing(model, tmp_path):
    made = trainer(tmp_path, made=model, explorers=0)
    with made.bench.projected(made._guard, made._state):
        drawn, _ = made.draw(np.random.default_rng(0))
        ratios = ratios_of(made, drawn)
    torch.testing.assert_close(ratios, torch.ones(4), rtol=0, atol=1e-4)


def ratios_of(made, drawn):
    """Of the first action of every row."""
    made._refresh()
    rows = torch.arange(len(drawn.explores))
    return replay(Replaying(drawn, rows), drawn.scheme, drawn.taken, rows, torch.zeros_like(rows)).detach()


def test_explorers_do_what_is_wanted_and_the_prompt_learns_from_them(tmp_path):
    made = trainer(tmp_path, explorers=1)
    with made.bench.projected(made._guard, made._state):
        drawn, log = made.draw(np.random.default_rng(0))
        ratios = ratios_of(made, drawn)
        alone, alone_log = trainer(tmp_path, explorers=0).draw(np.random.default_rng(0))
    assert drawn.explores.tolist() == [True, False, True, False]
    assert (ratios[drawn.explores] < 1 - 1e-6).all()  # the prompt alone would less likely have done that
    torch.testing.assert_close(ratios[~drawn.explores], torch.ones(2), rtol=0, atol=1e-4)
    torch.testing.assert_close(drawn.embeds, alone.embeds)
    rows = ~drawn.explores
    torch.testing.assert_close(drawn.taken.latents[:, rows], alone.taken.latents[:, rows], rtol=0, atol=1e-4)
    assert log["reward"] != pytest.approx(alone_log["reward"])  # explorers do not count as the guard's own


def test_runs_from_pictures_begin_at_them_and_are_shorter(tmp_path):
    made = trainer(tmp_path, from_pictures=1.0, pictures=3)
    plan = made._plan(np.random.default_rng(0))
    assert plan.first == 1 and len(plan.tasks) == 2 and {task.kind for task in plan.tasks} == {"single"}
    with made.bench.projected(made._guard, made._state):
        drawn, _ = made.draw(np.random.default_rng(0))
        ratios = ratios_of(made, drawn)
    assert drawn.scheme.steps == 2 and len(drawn.taken.latents) == 3 and drawn.scheme.actions == 1
    torch.testing.assert_close(ratios[~drawn.explores], torch.ones(2), rtol=0, atol=1e-4)
    alpha_bar = made.bench.alpha_bar[drawn.guidance.timesteps[0]]
    left = drawn.taken.latents[0][::2] - alpha_bar.sqrt() * plan.latents  # the noise that was added to each picture
    assert left.std() == pytest.approx((1 - alpha_bar).sqrt().item(), rel=0.1)
    assert not trainer(tmp_path, from_pictures=0.0).beginnings


def test_pictures_of_a_group_begin_alike_and_go_their_own_ways(tmp_path):
    made = trainer(tmp_path)
    with made.bench.projected(made._guard, made._state):
        drawn, _ = made.draw(np.random.default_rng(0))
    first, last = drawn.taken.latents[0], drawn.taken.latents[-1]
    assert same_bits(first[0], first[1]) and not same_bits(first[0], first[2])
    assert not same_bits(last[0], last[1])


def test_resumed_equals_uninterrupted(tmp_path, monkeypatch):
    whole = train(tmp_path / "whole", iterations=3)
    step, left = ddpo.Trainer.step, [2]

    def dying(self, tether):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return step(self, tether)

    monkeypatch.setattr(ddpo.Trainer, "step", dying)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", iterations=3)
    monkeypatch.setattr(ddpo.Trainer, "step", step)
    resumed = train(tmp_path / "cut", iterations=3)
    assert all(same_bits(value, resumed.tensors[name]) for name, value in whole.tensors.items())
    assert [line["iteration"] for line in log_of(tmp_path / "cut")] == [1, 2, 3]
    assert resumed.training["images"] == 12


def test_a_policy_that_falls_apart_is_put_back(tmp_path):
    made = trainer(tmp_path, lr=10.0, explorers=0)
    before = [parameter.detach().clone() for parameter in made.parameters]
    made.train()
    assert made.rollbacks == 2 and made.lr_factor == 0.25
    assert all(same_bits(a, b) for a, b in zip(before, made.parameters, strict=True))


def test_after_too_many_it_stops(tmp_path):
    made = trainer(tmp_path, lr=1e3, iterations=20, explorers=0)
    made.train()
    assert made.stopped and made.iteration == ddpo.MOST_ROLLBACKS + 1


def test_the_denoiser_stays_as_it_was(tmp_path):
    pipe = tiny.pipeline()
    before = {name: value.clone() for name, value in pipe.unet.state_dict().items()}
    train_guard("forceforget", pipe, "weapons", tmp_path, preset="tiny", iterations=1)
    assert all(same_bits(value, before[name]) for name, value in pipe.unet.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in pipe.unet.parameters())
    assert not any(module._forward_hooks for module in pipe.unet.modules())


def test_the_tether_is_zero_at_first_and_pulls_back(tmp_path):
    made = trainer(tmp_path)
    tether = made._tether()
    rows = torch.arange(4)
    with torch.no_grad():
        assert tether.loss(made.bench.predict, rows).max() < 1e-9
        assert tether.loss(lambda *inputs: made.bench.predict(*inputs) + 0.5, rows).min() > 0.2
    assert isinstance(tether, Tether) and len(tether.latents) == 2 * 2 * 3


# --- the refit ---------------------------------------------------------------------------------------


def test_what_only_the_concept_says_is_kept_and_what_only_benign_prompts_say_goes():
    unsafe, benign = (torch.tensor(rows).double() for rows in ([[1, 0, 0], [1, 0, 1]], [[0, 1, 0], [0, 1, 1]]))
    effect = kept_part(unsafe, benign, 1.0)
    assert effect[0, 0] > 0.99 and effect[1].abs().max() < 1e-2
    assert 0.2 < effect[2, 2] < 0.8  # said by both


@pytest.mark.parametrize("mu", [0.1, 1.0])
def test_the_refit_is_the_least_squares_it_says(mu):
    random = torch.Generator().manual_seed(0)
    unsafe, benign = (torch.randn(40, 5, generator=random, dtype=torch.float64) for _ in range(2))
    learnt = torch.randn(3, 5, generator=random, dtype=torch.float64)
    ridge = 1e-4 * benign.square().mean()
    found = (learnt @ kept_part(unsafe, benign, mu)).requires_grad_(True)
    changed, added = (unsafe @ (found - learnt).T, benign @ found.T)
    loss = changed.square().sum(-1).mean() + mu * added.square().sum(-1).mean() + ridge * found.square().sum()
    (slope,) = torch.autograd.grad(loss, found)
    assert slope.abs().max() < 1e-9


@pytest.mark.parametrize("position", ["end", "begin"])
def test_the_adapters_rows_and_the_others_are_refitted_apart(position):
    own = slice(-4, None) if position == "end" else slice(4)
    pipe = tiny.pipeline()
    bench, texts = Workbench(pipe), Texts(["a cat and a knife"], ["a cat and a knife"], ["a photo of a cat", ""])
    layer = next(place.layer for place in bench.text_projections(("k",)))
    stock = dict(pipe.unet.named_parameters())[f"{layer}.to_k.weight"].detach()
    names = [f"{layer}.to_{part}" for part in ("k.lora_down", "k.lora_up", "k.adapter", "q.lora_down", "q.lora_up")]
    down, up = torch.randn(2, stock.shape[1]), torch.randn(len(stock), 2)
    given = dict(zip(names, (down, up, stock + 1, down, up), strict=True))
    guard = ForceForget("weapons", tensors=given, rows=tiny.CONTEXT, position=position)
    made = refitted(guard, bench, texts, 0.3, 4.0, np.random.default_rng(0))
    rows = torch.ones(tiny.CONTEXT, dtype=torch.bool)
    rows[own] = False
    says = torch.arange(tiny.CONTEXT) >= 5  # start, a cat and a: the fifth word is the concept's last
    unsafe, benign = bench.states(texts.unsafe)[0].double(), bench.states(texts.benign).double()
    outside, inside = (
        kept_part(unsafe[which & says], benign[:, which].flatten(0, 1), 0.3).float() for which in (rows, ~rows)
    )
    assert all(same_bits(made[name], given[name]) for name in (names[1], *names[3:]))
    torch.testing.assert_close(made[names[0]], down @ outside)
    torch.testing.assert_close(made[names[2]], stock + torch.ones_like(stock) @ inside)


def test_a_saved_guard_is_refitted_alone_or_trained_on(tmp_path):
    first = train(tmp_path / "first", iterations=1, refit=0.0, lora=("q", "k", "v"))
    again = train(tmp_path / "again", start=str(tmp_path / "first"), iterations=0)
    assert set(again.tensors) == {name for name in first.tensors if ".to_q." not in name}
    up = next(name for name in again.tensors if name.endswith("lora_up"))
    down = up.replace("_up", "_down")
    assert same_bits(again.tensors[up], first.tensors[up]) and not same_bits(again.tensors[down], first.tensors[down])
    assert again.training["images"] == 0
    with pytest.raises(ConfigError, match="lora_down is"):
        train(tmp_path / "other", start=str(tmp_path / "first"), iterations=0, lora_rank=2)


def test_benign_texts_of_the_refit_name_two_things_and_never_the_concept():
    texts = Texts.drawn(PromptPool(load_concept("banana")), 60, np.random.default_rng(0))
    assert len(texts.unsafe) == 180 and not any("banana" in text for text in texts.benign)
    assert all(
        text.startswith(cut) and cut.endswith("a banana") for text, cut in zip(texts.unsafe, texts.named, strict=True)
    )
    assert sum(" and " in text for text in texts.benign) > 10 and "" in texts.benign


@pytest.mark.parametrize(
    "options", [{"preset": "paper", "steps": 3, "prompts": 4}, {"adapter": False}, {"adapter_rank": 2}]
)
def test_other_settings_train_too(tmp_path, options):
    preset = options.pop("preset", "tiny")
    common = {"iterations": 1, **options}
    guard = train_guard("forceforget", tiny.pipeline(), "ink", tmp_path, preset=preset, **common)
    pipe = tiny.pipeline()
    with guard.attach(pipe):
        assert tiny.draw(pipe).isfinite().all()


@pytest.mark.parametrize(
    "settings",
    [
        {"shares": (1.0, 2.0)},
        {"stochastic": 0.0},
        {"updates": 50},
        {"explorers": 2},
        {"from_pictures": 0.5, "steps": 2},
        {"iterations": 0},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ConfigError, match="forceforget"):
        ForceForgetRecipe("weapons", "tiny", **settings)


# --- adversarial rounds ------------------------------------------------------------------------------


def test_rounds_find_states_that_later_iterations_are_drawn_under(tmp_path):
    settings = {"rounds": 1, "search": 1, "attacked": 0.5, "refit_texts": 4}
    train(tmp_path / "whole", **settings)
    assert ["unsafe_attacked" in entry for entry in log_of(tmp_path / "whole")] == [False, True]
    made = trainer(tmp_path / "cut", **settings)
    assert made.rounds.spaced(3, 72) == (36, 48, 60)
    texts = ["a photo of a cat", "a dog"]
    made.rounds.found = [torch.ones(made.empty.shape[1:]), made.bench.embedding_of("knife").clone()]
    plain, new = made.bench.encode(texts), made.rounds.states(texts, [0, 1])
    assert same_bits(made.rounds.states(texts, [-1, -1]), plain)
    assert same_bits(new[0], plain[0] + 1)
    assert same_bits(new[1:], made.bench.encode_with(["z a dog"], "z", made.rounds.found[1]).detach())
    assert not same_bits(new[1], plain[1])


def test_rounds_need_pictures(tmp_path):
    with pytest.raises(ConfigError, match="need pictures; leave from_pictures"):
        Settings(**{**TINY, "rounds": 1, "from_pictures": 0.0})
