"""A policy over made-up words: SneakyPrompt's, an LSTM with a softmax for each slot and a critic."""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTH = 30


class WordPolicy(nn.Module):
    """Chooses ``slots`` entries of a vocabulary, one after the other, and learns from one reward at a time.

    Args:
        size: of the vocabulary.
        lr: of Adam.
    """

    def __init__(self, size: int, slots: int, lr: float, generator: torch.Generator) -> None:
        super().__init__()
        self.entries = nn.Embedding(size + 1, WIDTH)  # the last one is the beginning
        self.cell = nn.LSTMCell(WIDTH, WIDTH)
        self.heads = nn.ModuleList(nn.Linear(WIDTH, size) for _ in range(slots))
        self.critic = nn.Linear(WIDTH, 1)
        for parameter in self.parameters():
            parameter.data.uniform_(-0.1, 0.1, generator=generator)
        self.optimiser = torch.optim.Adam(self.parameters(), lr=lr)
        self.generator = generator

    def choose(self) -> tuple[list[int], Tensor, Tensor]:
        """Entries, the logarithm of their probability, and the reward that the critic expects."""
        state: tuple[Tensor, Tensor] | None = None
        last = torch.tensor([self.entries.num_embeddings - 1])
        chosen, log_p = [], torch.zeros(())
        for head in self.heads:
            state = self.cell(self.entries(last), state)
            logits = head(state[0])[0].log_softmax(0)
            last = torch.multinomial(logits.detach().exp(), 1, generator=self.generator)
            chosen.append(int(last))
            log_p = log_p + logits[last[0]]
        assert state is not None
        return chosen, log_p, self.critic(state[0])[0, 0]

    def learn(self, log_p: Tensor, expected: Tensor, reward: float) -> None:
        """One step of Adam on -log p advantage + advantage^2, where the advantage is reward - expected."""
        advantage = reward - expected
        loss = -log_p * advantage.detach() + advantage.square()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
