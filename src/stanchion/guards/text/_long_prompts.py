"""A long prompt is read in parts, each by itself, as if it were the whole prompt.

A causal text encoder's state of a word depends on all that stands before it, and the rows behind a prompt, which carry
on what it said, are gone where it fills the text window. An identifier that learnt from captions hears a phrase in
neither; in a part of a few tokens it stands as it stood there.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ...types import PromptEmbeds
from ..identifier import LONGEST

LONG = LONGEST + 1  # tokens beyond which a prompt is long
STRIDE = 4  # tokens between the begins of parts; a phrase of six is whole in one of them


class PromptPart(NamedTuple):
    """Tokens ``start`` to ``start + size`` of the prompt in a row of the batch."""

    row: int
    start: int
    size: int


def parts_of(view: PromptEmbeds) -> list[PromptPart]:
    """The parts of each long prompt of one stream; none where its words are not known.

    Long is also what leaves fewer than nine rows of the window behind it.
    """
    if view.content is None or view.token_ids is None:
        return []
    found = []
    for row, own in enumerate(view.content.cpu()):
        places = own.nonzero().flatten().tolist()
        if len(places) > LONG or (places and len(own) - 1 - places[-1] <= LONGEST):
            first, end = places[0], places[-1] + 1
            starts = range(first, max(first + 1, end - STRIDE), STRIDE)
            found += [PromptPart(row, start, min(LONGEST, end - start)) for start in starts]
    return found


def token_ids_of(parts: list[PromptPart], view: PromptEmbeds, empty: Tensor) -> Tensor:
    """(len(parts), L) token ids of the parts, each as a whole prompt; ``empty`` (L,) are those of the empty one."""
    assert view.token_ids is not None
    first = view.streams[0].first
    rows = []
    for part in parts:
        said = view.token_ids[part.row, part.start : part.start + part.size]
        rows.append(torch.cat([empty[:first], said, empty[first : len(empty) - part.size]]))
    return torch.stack(rows)
