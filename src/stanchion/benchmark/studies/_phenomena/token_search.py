"""Greedy coordinate gradient (arXiv 2307.15043, algorithm 1) over words that look harmless."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ....pipeline.model.workbench import Workbench
from ....reference import world
from ....reference.words import FILLERS

STATES = (0, 2, 4, 6)  # of a run of ten steps: where in it predictions are compared
RUN = 10


@dataclass(frozen=True)
class TokenSearch:
    """How a search goes: prompts of ``length`` words; in each of ``iterations`` the best of ``candidates`` swaps is
    kept, each to one of the ``top`` words of one position's gradient."""

    length: int = 4
    iterations: int = 15
    candidates: int = 40
    top: int = 32
    scale: float = 4.0


def harmless_words(tokenizer: Any) -> dict[str, int]:
    """Words and their token ids: idle words, and those of benign captions. Every one is a token of its own.

    No word is among them that occurs in the name, a synonym, a hint or a hypernym of any stand-in.
    """
    things = world.OBJECTS.values()
    benign = [thing for thing in things if not thing.stand_in and thing.known]
    phrases = [phrase for thing in benign for phrase in (thing.name, *thing.synonyms)]
    phrases += [phrase for options in world.BACKGROUNDS.values() for phrase in options]
    words = {word for phrase in phrases for word in phrase.split()} | set(FILLERS)
    vocabulary = tokenizer.get_vocab()
    return {word: vocabulary[f"{word}</w>"] for word in sorted(words - _telling()) if f"{word}</w>" in vocabulary}


def _telling() -> set[str]:
    """Every word of every phrase for a stand-in."""
    phrases = [phrase for group in world.STAND_INS for phrase in world.HYPERNYMS[group]]
    for thing in world.OBJECTS.values():
        if thing.stand_in:
            phrases += [thing.name, *thing.synonyms, *thing.hints]
    return {word for phrase in phrases for word in phrase.split()}


class ActivationGoal:
    """What a prompt should do: be seen by the denoiser as ``text`` is, along the way to a picture of ``text``."""

    def __init__(self, bench: Workbench, text: str, scale: float, generator: torch.Generator) -> None:
        self.bench = bench
        embeds, empty = bench.encode([text]), bench.encode([""])
        noise = torch.randn(len(STATES), *bench.latent_shape, generator=generator).to(bench.device)
        run = list(bench.trajectory(embeds.expand(len(STATES), -1, -1), empty, noise, steps=RUN, scale=scale))
        self.times = torch.stack([run[step][0] for step in STATES])
        self.latents = torch.stack([run[step][1][row] for row, step in enumerate(STATES)])
        with torch.no_grad():
            self.wanted = bench.predict(self.latents, self.times, embeds.expand(len(STATES), -1, -1))

    def loss(self, embeds: Tensor) -> Tensor:
        """(C,) distances of C prompts' states (C, L, D) from the goal; differentiable."""
        count, states = len(embeds), len(STATES)
        seen = self.bench.predict(
            self.latents.repeat(count, 1, 1, 1), self.times.repeat(count), embeds.repeat_interleave(states, 0)
        )
        return (seen - self.wanted.repeat(count, 1, 1, 1)).square().mean((1, 2, 3)).view(count, states).mean(1)


def random_prompt(words: Sequence[str], length: int, generator: torch.Generator) -> str:
    """``length`` words."""
    places = torch.randint(len(words), (length,), generator=generator).tolist()
    return " ".join(words[place] for place in places)


def find_prompt(bench: Workbench, text: str, words: dict[str, int], search: TokenSearch, seed: int) -> str:
    """The prompt of ``words`` that comes nearest to what ``text`` does."""
    generator = torch.Generator().manual_seed(seed)
    goal = ActivationGoal(bench, text, search.scale, generator)
    allowed = torch.tensor(list(words.values()))
    start = random_prompt(list(words), search.length, generator)
    best = _ids(bench, start)
    best_loss = float("inf")
    for _ in range(search.iterations):
        gradient = _gradient(bench, goal, best, search.length)[:, allowed]
        tops = allowed[(-gradient).topk(min(search.top, len(allowed)), dim=1).indices]
        swaps = best.repeat(search.candidates, 1)
        where = torch.randint(search.length, (search.candidates,), generator=generator)
        which = torch.randint(tops.shape[1], (search.candidates,), generator=generator)
        swaps[torch.arange(search.candidates), 1 + where] = tops[where, which]
        with torch.no_grad():
            losses = goal.loss(bench.pipe.text_encoder(swaps.to(bench.device))[0])
        if losses.min().item() < best_loss:
            best, best_loss = swaps[losses.argmin().item()], losses.min().item()
    names = {place: word for word, place in words.items()}
    return " ".join(names[place] for place in best[1 : 1 + search.length].tolist())


def _ids(bench: Workbench, text: str) -> Tensor:
    """(L,) token ids, the start token first."""
    tokenizer = bench.pipe.tokenizer
    return tokenizer(text, padding="max_length", return_tensors="pt").input_ids[0]


def _gradient(bench: Workbench, goal: ActivationGoal, ids: Tensor, length: int) -> Tensor:
    """(length, V): how the loss would change with each position's token, linearly."""
    encoder = bench.pipe.text_encoder
    table = encoder.get_input_embeddings()
    choice = F.one_hot(ids, table.num_embeddings).to(table.weight).requires_grad_()
    handle = table.register_forward_hook(lambda module, args, output: (choice @ module.weight)[None])
    try:
        loss = goal.loss(encoder(ids[None].to(bench.device))[0]).sum()
    finally:
        handle.remove()
    return torch.autograd.grad(loss, choice)[0][1 : 1 + length].cpu()
