"""SteerDiff's identifier: which short windows of a prompt's tokens are unsafe."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

LONGEST = 9  # tokens of the widest window
HIDDEN = (100, 50)


class Identifier(nn.Module):
    """The MLP that says how unsafe a window of at most nine tokens is: 9 D, 100, 50, 1 units; 900 D + 5,201 weights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(LONGEST * width, HIDDEN[0])
        self.second = nn.Linear(*HIDDEN)
        self.last = nn.Linear(HIDDEN[1], 1)

    def forward(self, windows: Tensor) -> Tensor:
        """Logits (N,) of windows (N, 9, D) whose unused rows are zero."""
        return self._rest(self.first(windows.flatten(1)))

    def scan(self, states: Tensor, content: Tensor) -> Tensor:
        """Probabilities (B, L, 9) of every window of ``content`` rows: [b, i, j] is that of rows i to i + j.

        0 where no such window is. Equals ``forward`` on each window by itself, at a ninth of the first layer's cost:
        what a row adds as a window's k-th token is computed once, and the windows are running sums of that.
        """
        batch, length, width = states.shape
        by_place = self.first.weight.view(-1, LONGEST, width).permute(1, 0, 2)
        total = self.first.bias.expand(batch, length, -1)
        inside = torch.ones_like(content)
        sums, there = [], []
        for k in range(LONGEST):
            total = total + _ahead(linear(states, by_place[k]), k)
            inside = inside & _ahead(content, k)
            sums.append(total)
            there.append(inside)
        return self._rest(torch.stack(sums, 2)).sigmoid() * torch.stack(there, 2)

    def _rest(self, first: Tensor) -> Tensor:
        return self.last(self.second(first.relu()).relu()).squeeze(-1)


def _ahead(rows: Tensor, k: int) -> Tensor:
    """Row i + k in the place of row i, zeros behind the end: (B, L, …)."""
    return torch.cat([rows[:, k:], torch.zeros_like(rows[:, :k])], dim=1)
