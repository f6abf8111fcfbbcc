"""What the guards at both ends say of texts and pictures that nobody draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

from ...errors import ConfigError
from ..model.encoding import Encoding
from ..phrase_cache import PhraseCache
from ..seams.output import OutputSeam
from ..seams.text_chain import TextChain
from ..stages import Stage
from .guard_record import Record
from .reports import GuardReport
from .turns import alone_with

if TYPE_CHECKING:
    from .attachment import Attachment


def _records(attachment: Attachment, stage: Stage) -> tuple[Encoding, list[Record]]:
    """The guards of a stage, each as at the begin of a call."""
    call = Encoding(attachment.pipeline, attachment.family, {}, PhraseCache())
    return call, [Record(guard, call) for guard in attachment.guards if guard.stage is stage]


@torch.no_grad()
def read(attachment: Attachment, texts: Sequence[str]) -> tuple[GuardReport, ...]:
    """What each text guard says of prompts; nothing where there is no text guard.

    Raises:
        ConfigError: a prompt is longer than the text encoder reads, and nobody would see its end.
        GuardFailed: a guard failed.
    """
    call, records = _records(attachment, Stage.TEXT)
    if not records:
        return ()
    _check_lengths(attachment.family.tokenizers_of(attachment.pipeline), texts)
    chain = TextChain(records, call.read(texts))
    readings = chain.readings()
    for place, record in enumerate(records):
        acted = torch.stack([reading.used[place] for reading in readings]).any(0)
        record.note(acted, details=chain.details(place))
    return tuple(record.report(len(texts)) for record in records)


@torch.no_grad()
def look(attachment: Attachment, pictures: Sequence[Image.Image]) -> tuple[GuardReport, ...]:
    """What each output guard says of RGB pictures; nothing where there is no output guard.

    Raises:
        GuardFailed: a guard failed.
    """
    _, records = _records(attachment, Stage.OUTPUT)
    OutputSeam(records).checked((list(pictures),))
    return tuple(record.report(len(pictures)) for record in records)


def _check_lengths(tokenizers: Sequence[Any], texts: Sequence[str]) -> None:
    with alone_with(*tokenizers):
        for tokenizer in tokenizers:
            for ids in tokenizer(list(texts), truncation=False, verbose=False).input_ids:
                if len(ids) > tokenizer.model_max_length:
                    raise ConfigError(
                        f"a text has {len(ids)} tokens, and the text encoder reads {tokenizer.model_max_length}; "
                        "give it in parts."
                    )
