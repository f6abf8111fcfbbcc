"""P4D-K: free tokens between those of the prompt, with which the guarded model predicts what the unguarded one does."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...config import Natural, checked
from ...targets.protocols import WhiteBox
from ...types import Prompt
from ..tokens import free_ids, own_ids
from ._p4d import Layout, P4DSettings, Prompting4Debugging


@checked
@dataclass(frozen=True)
class P4DKSettings(P4DSettings):
    """Settings of ``P4DK``: those of ``P4DSettings``, and

    Attributes:
        gap: a free token stands before every so many of the prompt's, 1 or more.
    """

    gap: Natural = 3


class P4DK(Prompting4Debugging):
    """P4D-K (Prompting4Debugging, arXiv 2309.06135): a free token before the prompt and after each three of its tokens.

    The prompt's tokens stay as they are: in the paper their gradients are set to zero. See ``_p4d.py``.
    """

    name = "p4d_k"
    Settings = P4DKSettings

    def layout(self, target: WhiteBox, prompt: Prompt, generator: torch.Generator) -> Layout | None:
        own, gap, words = own_ids(target, prompt.text), self.settings.gap, free_ids(target)
        count = len(own) // gap + 1
        if len(own) + count > target.tokenize([""]).shape[1] - 2:
            return None
        free = torch.ones(len(own) + count, dtype=torch.bool)
        free[torch.arange(len(own)) + torch.arange(len(own)) // gap + 1] = False
        ids = own.new_empty(len(free))
        ids[~free], ids[free] = own, words[torch.randint(len(words), (count,), generator=generator)]
        return Layout(ids, free)
