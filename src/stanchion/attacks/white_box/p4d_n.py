"""P4D-N: free tokens in the prompt's place, with which the guarded model predicts what the unguarded one does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from ...config import Natural, checked
from ...targets.protocols import WhiteBox
from ...types import Prompt
from ..tokens import free_ids
from ._p4d import Layout, P4DSettings, Prompting4Debugging


@checked
@dataclass(frozen=True)
class P4DNSettings(P4DSettings):
    """Settings of ``P4DN``: those of ``P4DSettings``, and

    Attributes:
        length: free tokens, 1 or more.
    """

    length: Natural = 16


class P4DN(Prompting4Debugging):
    """P4D-N (Prompting4Debugging, arXiv 2309.06135): 16 free tokens replace the prompt. See ``_p4d.py``."""

    name = "p4d_n"
    Settings = P4DNSettings
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        **Prompting4Debugging.presets,
        "tiny": {**Prompting4Debugging.presets["tiny"], "length": 3},
    }

    def layout(self, target: WhiteBox, prompt: Prompt, generator: torch.Generator) -> Layout | None:
        free, length = free_ids(target), self.settings.length
        if length > target.tokenize([""]).shape[1] - 2:
            return None
        return Layout(
            free[torch.randint(len(free), (length,), generator=generator)], torch.ones(length, dtype=torch.bool)
        )
