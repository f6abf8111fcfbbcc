"""A prompt's text states taken apart, one text encoder's from another's, put together again, and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ...types import PromptEmbeds


def apart(prompt: PromptEmbeds) -> list[PromptEmbeds]:
    """What each text encoder says of the prompts, alone: its own rows and columns, (B, l, d), and its tokens."""
    views = []
    for stream in prompt.streams:
        rows, columns = slice(*stream.rows), slice(*stream.columns)
        ids, content = (None if one is None else one[:, rows] for one in (prompt.token_ids, prompt.content))
        own = replace(stream, rows=(0, None), columns=(0, None))
        embeds = prompt.embeds[:, rows, columns]
        views.append(replace(prompt, embeds=embeds, token_ids=ids, content=content, streams=(own,)))
    return views


def together(prompt: PromptEmbeds, steered: Sequence[Tensor]) -> Tensor:
    """(B, L, D): the prompt's states with each stream's new ones in their place."""
    if len(steered) == 1 and steered[0].shape == prompt.embeds.shape:
        return steered[0]
    states = prompt.embeds.clone()
    for stream, own in zip(prompt.streams, steered, strict=True):
        states[:, slice(*stream.rows), slice(*stream.columns)] = own
    return states


def filled(states: Tensor) -> Tensor:
    """(B, L) bool: rows of (B, L, D) states before nothing but zeros, with which some encoders' texts are padded."""
    return states.detach().ne(0).any(-1).flip(1).cumsum(1).flip(1) > 0


def normed(view: PromptEmbeds) -> tuple[Tensor, Tensor | float]:
    """A stream's (B, l, d) states in single precision, of length 1 in the mean square where their length says nothing.

    And (B, l, 1) what they were divided by.
    """
    states = view.embeds.float()
    if not view.streams[0].normed:
        return states, 1.0
    length = states.square().mean(-1, keepdim=True).sqrt().clamp_min(1e-6)
    return states / length, length


def same(one: Any, other: Any) -> bool:
    """Whether two texts' states, tensors or lists of them, hold the same values, of one kind and in one place."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if not (isinstance(one, Tensor) and isinstance(other, Tensor)):
        return False
    return one.dtype == other.dtype and one.device == other.device and torch.equal(one, other)
