"""UnlearnDiffAtk's own parts."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import tiny
from small_guards import Small
from stanchion.attacks.white_box.unlearn_diff_atk import UnlearnDiffAtk, gradient_of, levels, project
from stanchion.errors import ConfigError
from stanchion.guards.base import DecoderGuard
from stanchion.targets.deployment import Deployment
from stanchion.types import Access, Budget, Decoded, Prompt

ROW = Prompt("a photo of a knife", 5, "0")


def white_box(pipe: Any) -> Any:
    return Deployment(pipe, tiny.pipeline(), steps=2).target(Access.WHITE_BOX)


def test_the_papers_timesteps() -> None:
    assert levels(50) == list(range(10, 1000, 20))
    assert levels(2) == [250, 750]


def test_projection_is_the_nearest_distribution() -> None:
    generator = torch.Generator().manual_seed(0)
    rows, allowed = torch.randn(50, 7, generator=generator), torch.ones(7, dtype=torch.bool)
    near = project(rows, allowed)
    assert torch.allclose(near.sum(1), torch.ones(50), atol=1e-5) and near.min() >= 0
    assert torch.allclose(project(near, allowed), near, atol=1e-6)
    others = torch.rand(50, 200, 7, generator=generator).pow(4)
    others /= others.sum(2, keepdim=True)
    assert ((rows[:, None] - others).norm(dim=2) >= (rows - near).norm(dim=1)[:, None] - 1e-5).all()


def test_projection_leaves_out_what_is_not_allowed() -> None:
    allowed = torch.tensor([True, False, True])
    near = project(torch.tensor([[0.2, 5.0, 0.1], [-1.0, 9.0, -3.0]]), allowed)
    assert torch.allclose(near, torch.tensor([[0.55, 0.0, 0.45], [1.0, 0.0, 0.0]]))


def test_the_gradient_says_how_the_loss_changes_with_a_token(pipe: Any) -> None:
    """Along the way from one token's embedding to another's, against finite differences."""
    with tiny.guard("forceforget").attach(pipe):
        target = white_box(pipe)
        ids = target.tokenize(["big a photo of a knife"])
        clean = torch.randn(1, *target.latent_shape, generator=torch.Generator().manual_seed(0))
        noise = torch.randn(2, *target.latent_shape, generator=torch.Generator().manual_seed(1))
        gradient = gradient_of(target, ids, clean, 500, noise)
        table = target.token_embeddings
        other = int(target.tokenize(["small"])[0, 1])
        towards = torch.zeros(1, ids.shape[1], table.shape[1])
        towards[0, 1] = table[other] - table[ids[0, 1]]

        def loss(share: float) -> float:
            rows = (table[ids] + share * towards).expand(2, -1, -1)
            seen = target.predict_noise(target.noisy(clean, 500, noise), 500, ids=ids.expand(2, -1), token_embeds=rows)
            return float((seen - noise).square().mean())

        with torch.no_grad():
            slope = (loss(0.01) - loss(-0.01)) / 0.02
    assert float(gradient[1, other] - gradient[1, ids[0, 1]]) == pytest.approx(slope, rel=5e-2, abs=1e-5)


def test_a_guarded_decoder_is_in_the_loss(pipe: Any) -> None:
    class Fades(Small, DecoderGuard):
        """Halves the picture."""

        name = "fades"

        def decode(self, latents: Any, decode: Any, state: Any) -> Decoded:
            return Decoded(decode(latents) / 2, torch.ones(len(latents), dtype=torch.bool))

    def gradient(decoded: float) -> torch.Tensor:
        target = white_box(pipe)
        clean = torch.randn(1, *target.latent_shape, generator=torch.Generator().manual_seed(0))
        return gradient_of(target, target.tokenize([ROW.text]), clean, 100, torch.randn(clean.shape).mul(0), decoded)

    assert torch.allclose(gradient(0.0), gradient(1.0))
    with Fades().attach(pipe):
        assert not torch.allclose(gradient(0.0), gradient(1.0))


def test_a_prompt_without_room_for_the_prefix_has_no_candidate(pipe: Any) -> None:
    target = white_box(pipe)
    attack = UnlearnDiffAtk("weapons", "tiny")

    def candidates(words: int) -> list[Any]:
        row = Prompt("cat " * words, 1, "long")
        return list(attack.run(target, row, budget=Budget(), generator=torch.Generator().manual_seed(0)))

    assert candidates(tiny.CONTEXT - 2) == []
    assert len(candidates(tiny.CONTEXT - 2 - 2)) == 2


def test_candidates_end_with_the_prompt(pipe: Any) -> None:
    target = white_box(pipe)
    attack = UnlearnDiffAtk("weapons", "tiny", length=3)
    found = list(attack.run(target, ROW, budget=Budget(), generator=torch.Generator().manual_seed(0)))
    assert [one.note["timestep"] for one in found] == [250, 750]
    for one in found:
        assert one.text.endswith(ROW.text) and len(one.text) > len(ROW.text)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="1 or more"):
        UnlearnDiffAtk("weapons", length=0)
