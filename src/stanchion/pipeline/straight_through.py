"""Hard choices of guards, with a gradient for whoever differentiates through them.

In a call of the pipeline gradients are off and nothing here does anything. A white-box attacker runs guards with
gradients on (``model/guarded_prediction.py``); a threshold would give them none, and a guard that only hides its
gradient looks stronger than it is (arXiv 1802.00420). So each guard says in which direction its choices would go.
"""

from __future__ import annotations

import torch
from torch import Tensor


def straight_through(chosen: Tensor, score: Tensor, change: Tensor) -> Tensor:
    """``chosen``, bit for bit; its gradient is also that of ``score`` times ``change``.

    Args:
        chosen: (B, …), what the hard choice gave.
        score: (B,), differentiable; the choice is "yes" where it is high.
        change: (B, …), what "yes" gives minus what "no" gives; held fixed.
    """
    if not (torch.is_grad_enabled() and score.requires_grad):
        return chosen
    zero = (score - score.detach()).view(-1, *[1] * (change.ndim - 1))
    return chosen + zero * change.detach()
