"""What is special about P4D, coordinate descent and the inversions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch

import tiny
from closeness import same_bits
from small_guards import Grey
from stanchion.attacks.pictures import picture_errors, wanted_pictures
from stanchion.attacks.tokens import framed, free_ids, own_ids
from stanchion.attacks.white_box._inversion import with_prefix
from stanchion.attacks.white_box._p4d import HardPrompt
from stanchion.attacks.white_box.concept_inversion import ConceptInversion
from stanchion.attacks.white_box.coordinate_descent import Bank, CoordinateDescent
from stanchion.attacks.white_box.p4d_k import P4DK
from stanchion.attacks.white_box.p4d_n import P4DN
from stanchion.attacks.white_box.soft_prompt import SoftPrompt
from stanchion.errors import ConfigError
from stanchion.targets.deployment import Deployment
from stanchion.types import Access, Budget, Prompt

ROW = Prompt("a photo of a knife and a cat", 5, "0")
LONG = Prompt("cat " * (tiny.CONTEXT - 2), 5, "1")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def target(pipe: Any) -> Iterator[Any]:
    with tiny.guard("negative_prompt").attach(pipe):
        yield Deployment(pipe, tiny.pipeline(), steps=3).target(Access.WHITE_BOX)


def found(attack: Any, target: Any, row: Prompt = ROW) -> list[Any]:
    return list(attack.run(target, row, budget=Budget(), generator=seeded()))


# --- P4D ---------------------------------------------------------------------------------------------


def test_p4d_k_leaves_the_prompts_tokens_where_they_are(target: Any) -> None:
    layout = P4DK("weapons").layout(target, ROW, seeded())
    assert layout.free.tolist() == [True] + [False] * 3 + [True] + [False] * 3 + [True] + [False] * 2
    assert same_bits(layout.ids[~layout.free], own_ids(target, ROW.text))
    six = Prompt("a photo of a big cat", 5, "0")
    assert P4DK("weapons").layout(target, six, seeded()).free.sum() == 6 // 3 + 1
    for one in found(P4DK("weapons", "tiny"), target):
        assert re.search(".*".join(ROW.text.split()), one.text)  # free tokens may be parts of words


def test_p4d_n_replaces_the_prompt(target: Any) -> None:
    layout = P4DN("weapons", length=5).layout(target, ROW, seeded())
    assert len(layout.ids) == 5 and layout.free.all()


def test_a_projected_token_is_the_nearest_of_the_vocabulary(target: Any) -> None:
    search = HardPrompt(target, P4DK("weapons").layout(target, ROW, seeded()))
    before, table, free = search.ids(), target.token_embeddings, search.layout.free
    assert same_bits(before, search.layout.ids)  # a row of the table is nearest to itself
    with torch.no_grad():
        search.soft += 0.05 * torch.randn(search.soft.shape, generator=seeded(1))
    words = free_ids(target)
    cosines = torch.cosine_similarity(search.soft.detach()[:, None], table[words][None], dim=2)
    assert same_bits(search.ids()[free], words[cosines.argmax(1)])
    assert same_bits(search.ids()[~free], before[~free])


def test_the_gradient_is_taken_at_the_projected_point(target: Any) -> None:
    search = HardPrompt(target, P4DK("weapons").layout(target, ROW, seeded()))
    with torch.no_grad():
        search.soft *= 1.7  # projects to the same tokens
    ids = search.ids()
    weights = torch.randn(1, tiny.CONTEXT, search.table.shape[1], generator=seeded(2))
    gradient = search.gradient(ids, lambda full, rows: (weights * rows.square()).sum())
    at = framed(target, ids[None])
    expected = (2 * weights * search.table[at])[0, 1 : 1 + len(ids)][search.layout.free]
    assert torch.allclose(gradient, expected, atol=1e-6)


@pytest.mark.parametrize("attack", [P4DK("weapons", "tiny"), P4DN("weapons", "tiny", length=99)])
def test_without_room_there_is_no_candidate(attack: Any, target: Any) -> None:
    assert found(attack, target, LONG) == []


# --- coordinate descent ------------------------------------------------------------------------------


def test_every_round_lowers_the_loss_and_the_prompt_stays(target: Any) -> None:
    attack = CoordinateDescent("weapons", "tiny", rounds=4, tried=6, top=12)
    sent = found(attack, target)
    losses = [one.note["loss"] for one in sent]
    assert len(sent) > 1 and losses == sorted(losses, reverse=True) and len(set(losses)) == len(losses)
    assert all(one.text.endswith(ROW.text) for one in sent)
    assert found(attack, target, LONG) == []


def test_the_best_of_a_bank_is_the_best_of_all_where_nothing_is_given_up(target: Any) -> None:
    bank = Bank.of(target, ROW, 3, 0.1, seeded())
    rows = free_ids(target)[torch.randint(40, (2, 4), generator=seeded())]
    full = framed(target, rows)
    with torch.no_grad():
        losses = torch.stack([bank.errors(entry, full) for entry in range(3)]).mean(0)
    best, loss = bank.best(rows)
    assert same_bits(best, rows[losses.argmin()]) and loss == pytest.approx(float(losses.min()), rel=1e-4)
    assert bank.timesteps == [166, 500, 833]


def test_a_banks_gradient_is_that_of_its_loss(target: Any) -> None:
    """Along the way from one token's embedding to another's, against finite differences."""
    bank, ids, table = Bank.of(target, ROW, 2, 0.0, seeded()), own_ids(target, "big cat"), target.token_embeddings
    other, full = int(own_ids(target, "small")[0]), framed(target, own_ids(target, "big cat")[None])
    towards = torch.zeros(1, tiny.CONTEXT, table.shape[1])
    towards[0, 1] = table[other] - table[ids[0]]

    @torch.no_grad()
    def loss(share: float) -> float:
        rows = table[full] + share * towards
        return float(torch.stack([bank.errors(entry, full, rows) for entry in range(2)]).mean())

    gradient = bank.gradient(ids)[0]
    slope = (loss(0.01) - loss(-0.01)) / 0.02
    assert float(gradient[other] - gradient[ids[0]]) == pytest.approx(slope, rel=5e-2, abs=1e-5)


# --- inversions --------------------------------------------------------------------------------------


def test_a_prefix_stands_after_the_start_and_costs_padding() -> None:
    rows = torch.arange(12.0).reshape(2, 6, 1)
    prefix = torch.tensor([[-1.0], [-2.0]])
    assert with_prefix(rows, prefix)[1, :, 0].tolist() == [6, -1, -2, 7, 8, 9]


@pytest.mark.parametrize(
    "attack",
    [
        ConceptInversion("weapons", "tiny", updates=8, lr=0.05, batch=4),
        ConceptInversion("weapons", "tiny", updates=8, lr=0.05, batch=4, wanted="noise"),
        SoftPrompt("weapons", "tiny", updates=8, batch=4),
        SoftPrompt("weapons", "tiny", updates=8, batch=4, where="prefix", length=3),
    ],
)
def test_an_inversion_learns_what_it_wants(attack: Any, target: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error, at timesteps and noises that are always the same, is lower afterwards."""
    budget = Budget()

    @torch.no_grad()
    def error(learned: torch.Tensor) -> float:
        sent = attack.apply(learned, target, ROW)
        given = {"embeds": sent.embeds} if sent.embeds is not None else {"token_embeds": sent.token_embeds}
        given = {name: rows.expand(8, -1, -1) for name, rows in given.items()}
        clean = target.base.latents([ROW.text], seeds=[ROW.seed], step=target.steps)
        noise = torch.randn(8, *target.latent_shape, generator=seeded(9))
        total = 0.0
        for timestep in (300, 600, 900):
            latents = target.noisy(clean, timestep, noise)
            ids = target.tokenize([ROW.text]).expand(8, -1)
            base = target.base.predict_noise(latents, timestep, ids=ids)
            wanted = noise if attack.settings.wanted == "noise" else base
            total += float((target.predict_noise(latents, timestep, **given) - wanted).square().mean())
        return total

    after = attack.learn(target, [ROW], budget=budget, generator=seeded())
    attack.settings.__dict__["updates"] = 1  # frozen dataclass: the test's own copy
    attack.settings.__dict__["lr"] = 1e-9
    before = attack.learn(target, [ROW], budget=budget, generator=seeded())
    assert error(after) < error(before)


def test_an_inversion_stops_where_the_budget_ends(pipe: Any) -> None:
    deployment = Deployment(pipe, tiny.pipeline(), steps=2)
    meter = deployment.meter(Budget(None, predictions=5))
    attack = ConceptInversion("weapons", "tiny", updates=9, batch=2)
    token = attack.learn(deployment.target(Access.WHITE_BOX, meter), [ROW], budget=meter.budget, generator=seeded())
    assert token.isfinite().all() and meter.spent.predictions == 4


def test_restarts_begin_elsewhere_and_a_word_can_be_given(target: Any) -> None:
    def learned(seed: int, **settings: Any) -> torch.Tensor:
        attack = ConceptInversion("weapons", updates=1, batch=1, lr=1e-9, **settings)
        return attack.learn(target, [ROW], budget=Budget(), generator=seeded(seed))

    assert not torch.allclose(learned(0), learned(1))
    cat = target.token_embeddings[own_ids(target, "cat")]
    assert torch.allclose(learned(0, init="cat"), cat, atol=1e-6)
    with pytest.raises(ConfigError, match="one"):
        learned(0, init="a cat")


def test_settings_that_make_no_sense_are_refused() -> None:
    wrong = [
        (P4DN, {"length": 0}),
        (P4DK, {"gap": 0}),
        (P4DK, {"lr": 0.0}),
        (CoordinateDescent, {"bank": 0}),
        (SoftPrompt, {"where": "pixels"}),
        (ConceptInversion, {"wanted": "more"}),
    ]
    for attack, settings in wrong:
        with pytest.raises(ConfigError):
            attack("weapons", **settings)


# --- a guarded decoder -------------------------------------------------------------------------------


def test_the_picture_counts_only_behind_a_guarded_decoder(pipe: Any) -> None:
    clean = torch.randn(2, 4, tiny.SIZE // 2, tiny.SIZE // 2, generator=seeded())
    deployment = Deployment(pipe, tiny.pipeline(), steps=2)
    target = deployment.target(Access.WHITE_BOX)
    assert wanted_pictures(target, clean, 0.1) is None
    assert picture_errors(target, clean, 500, clean, None).tolist() == [0, 0]
    with Grey().attach(pipe):
        wanted = wanted_pictures(target, clean, 0.1)
        assert wanted_pictures(target, clean, 0.0) is None
        errors = picture_errors(target, clean, 500, clean, wanted)
    assert torch.allclose(wanted, target.base.decode(clean))
    expected = target.alpha_bar(500) * wanted.square().mean((1, 2, 3))  # a grey picture is 0 everywhere
    assert torch.allclose(errors, expected, rtol=1e-4)
