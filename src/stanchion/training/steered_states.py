"""What text guards make of prompts, outside of any call: the states that whatever is trained behind them will read."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import ConfigError, UnsupportedPipeline
from ..guards.base import Guard
from ..pipeline.attach.guard_record import Record
from ..pipeline.model.encoding import Encoding
from ..pipeline.model.workbench import Workbench
from ..pipeline.phrase_cache import PhraseCache
from ..pipeline.seams.text_chain import TextChain
from ..pipeline.stages import Stage

AT_ONCE = 64


@torch.no_grad()
def steered_states(bench: Workbench, texts: Sequence[str], guards: Sequence[Guard]) -> Tensor:
    """(len(texts), L, D) as the first step's denoiser reads them behind the guards.

    Raises:
        ConfigError: one of them is no text guard.
        UnsupportedPipeline: the family has a vector beside its states.
    """
    if other := [guard.name for guard in guards if guard.stage is not Stage.TEXT]:
        raise ConfigError(f"{', '.join(other)} steers no prompt; name guards of text, steerdiff say.")
    if bench.family.pooled is not None:
        raise UnsupportedPipeline(f"{bench.family.title} reads a vector beside states, which no guard here steers.")
    parts = []
    for start in range(0, len(texts), AT_ONCE):
        some = texts[start : start + AT_ONCE]
        call = Encoding(bench.pipe, bench.family, bench.family.arguments(bench.pipe, 1.0, len(some)), PhraseCache())
        chain = TextChain([Record(guard, call) for guard in guards], call.read(some))
        parts.append(chain.at(torch.zeros(len(some), device=bench.device))[0])
    return torch.cat(parts)
