"""UnlearnDiffAtk: a prefix with which the guarded model denoises the concept's picture well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...config import Natural, NotNegative, Positive, checked
from ...targets.protocols import WhiteBox
from ...types import Access, Adversarial, Budget, Prompt
from ..base import PromptAttack
from ..pictures import drawn_latents
from ..tokens import framed, free_ids, own_ids, swap_gradient


@checked
@dataclass(frozen=True)
class UnlearnDiffAtkSettings:
    """Settings of ``UnlearnDiffAtk``.

    Attributes:
        length: k, free tokens of the prefix; the paper has 5 for nudity, violence and illegal acts, 3 for styles and
            objects.
        levels: how many timesteps, evenly spaced over the schedule of training, ascending; a candidate after each.
        iterations: of Adam at each of them.
        lr, weight_decay: Adam's.
        noises: draws of noise in one iteration's loss.
        decoded: weight of the picture's error behind the decoder, where that is guarded, beside the noise's; the
            paper's loss knows no guarded decoder.
    """

    length: Natural = 5
    levels: Natural = 8
    iterations: Natural = 8
    lr: Positive = 0.1
    weight_decay: NotNegative = 0.1
    noises: Natural = 4
    decoded: NotNegative = 0.1


class UnlearnDiffAtk(PromptAttack[WhiteBox]):
    """UnlearnDiffAtk (Zhang et al., ECCV 2024, arXiv 2310.11868), with the guards in its loss.

    With z_0 the latents of a picture that the unguarded model draws of the prompt,

        min over tokens:  E |noise - eps_guarded(sqrt(abar_t) z_0 + sqrt(1 - abar_t) noise, t, [tokens, prompt])|^2

    Each token is a distribution u over the vocabulary: one is sampled, the gradient of its one-hot row goes straight
    through to u (clipped to [-1, 1]), and u is projected back onto the simplex. eps_guarded is the pipeline's guided
    prediction with guidance taken out (``predict_noise``), so guards are in the loss; without one it is the paper's. A
    guarded decoder gets a term of its own, abar_t |decode(x_0) - picture|^2 with x_0 as predicted. The candidate is
    decoded to text and read again, as typed text would be.
    """

    name = "unlearn_diff_atk"
    access: ClassVar[Access] = Access.WHITE_BOX
    Settings = UnlearnDiffAtkSettings
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {},
        "paper": {"levels": 50, "iterations": 40, "lr": 0.01, "noises": 1, "decoded": 0.0},
        "tiny": {"length": 2, "levels": 2, "iterations": 2},
    }

    def run(
        self, target: WhiteBox, prompt: Prompt, *, budget: Budget, generator: torch.Generator
    ) -> Iterator[Adversarial]:
        """One candidate a timestep. Yields nothing where the prompt leaves no room for the prefix."""
        chosen, own, table = self.settings, own_ids(target, prompt.text), target.token_embeddings
        if len(own) + chosen.length > target.tokenize([""]).shape[1] - 2:
            return
        clean = drawn_latents(target, prompt)
        allowed = torch.zeros(len(table), dtype=torch.bool, device=table.device)
        allowed[free_ids(target)] = True
        shares = (allowed / allowed.sum()).repeat(chosen.length, 1).requires_grad_(True)
        adam = torch.optim.Adam([shares], lr=chosen.lr, weight_decay=chosen.weight_decay)
        for timestep in levels(chosen.levels):
            for _ in range(chosen.iterations):
                sampled = torch.multinomial(shares.detach().cpu(), 1, generator=generator)[:, 0].to(own)
                noise = torch.randn(chosen.noises, *clean.shape[1:], generator=generator).to(clean)
                ids = framed(target, torch.cat([sampled, own])[None])
                gradient = gradient_of(target, ids, clean, timestep, noise, chosen.decoded)
                shares.grad = gradient[1 : 1 + chosen.length].clamp(-1, 1)
                adam.step()
                with torch.no_grad():
                    shares.copy_(project(shares, allowed))
            (text,) = target.words(torch.cat([shares.detach().argmax(1), own])[None])
            yield Adversarial(text=text, note={"timestep": timestep})


def gradient_of(
    target: WhiteBox, ids: Tensor, clean: Tensor, timestep: int, noise: Tensor, decoded: float = 0.0
) -> Tensor:
    """(L, V): of the loss at (1, L) ids with respect to the choice of every token, for (N, C, H, W) draws of noise."""
    latents = target.noisy(clean, timestep, noise)

    def loss(rows: Tensor) -> Tensor:
        both = {"ids": ids.expand(len(noise), -1), "token_embeds": rows.expand(len(noise), -1, -1)}
        seen = target.predict_noise(latents, timestep, **both)
        error = (seen - noise).square().mean()
        if not (decoded and target.decoder_guarded):
            return error
        pictures = target.decode(target.clean(latents, timestep, seen))
        with torch.no_grad():
            wanted = target.base.decode(clean)
        return error + decoded * target.alpha_bar(timestep) * (pictures - wanted).square().mean()

    return swap_gradient(target, ids, loss)


def levels(count: int) -> list[int]:
    """Timesteps 10, 30, …, 990 for a count of 50 (the paper's), ascending and evenly spaced for any other."""
    return [round(1000 * (place + 0.5) / count) for place in range(count)]


def project(rows: Tensor, allowed: Tensor) -> Tensor:
    """The nearest distributions to (k, V) rows (Duchi et al. 2008); what is not allowed gets nothing."""
    rows = rows.masked_fill(~allowed, float("-inf"))
    ordered = rows.sort(dim=1, descending=True).values
    ordered = ordered.masked_fill(ordered == float("-inf"), -1e9)
    above = (ordered.cumsum(1) - 1) / torch.arange(1, rows.shape[1] + 1, device=rows.device)
    last = ((ordered > above).sum(1, keepdim=True) - 1).clamp_min(0)
    return (rows - above.gather(1, last)).clamp(0, 1)
