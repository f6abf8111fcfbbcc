"""Guards' phrases that earlier calls encoded, for as long as the text encoder is the same.

A guard encodes the same phrases in every call. They are kept with what the encoder was: its parameters (which, and how
often changed in place), what its modules are set to (an adapter's scale), its tokenizer, its options. Anything else,
and the book is empty again: a stale concept would guard against nothing. What none of these show (``.data`` writes past
them) is seen by who reads every value before a picture is handed out (``proof/unchanged.py``); then the call ends
without one, and its book with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from ..types import Condition, PromptEmbeds
from .proof.every_part import every_part

Texts = tuple[str, ...]


@dataclass
class Phrases:
    """What is known of one encoder, to read from and to write to."""

    conditions: dict[Texts, Condition] = field(default_factory=dict)
    prompts: dict[Texts, PromptEmbeds] = field(default_factory=dict)


class PhraseCache:
    """Belongs to one attachment, whose calls wait for each other."""

    def __init__(self) -> None:
        self._encoder: tuple[Any, ...] | None = None
        self._phrases = Phrases()

    def open(self, encoder: tuple[Any, ...]) -> Phrases:
        """What is known of this encoder (``identity_of``)."""
        if encoder != self._encoder:
            self._encoder, self._phrases = encoder, Phrases()
        return self._phrases


def identity_of(*parts: Any, options: tuple[Any, ...]) -> tuple[Any, ...]:
    """What an encoding depends on, encoders and tokenizers, as far as it can be told without encoding."""
    modules = (module for part in parts if isinstance(part, nn.Module) for module in every_part([part]))
    held = tuple((_settings(module), [*map(_glance, module._parameters.values())]) for module in modules)
    others = [getattr(part, "tokenizer", part) for part in parts if not isinstance(part, nn.Module)]  # of a processor
    tokenizers = tuple((id(part), len(part)) for part in others)
    return (held, tokenizers, *options)


def _glance(value: Tensor | None) -> tuple[Any, ...] | None:
    """What is another where somebody wrote to a parameter in the usual ways."""
    if value is None:
        return None
    return value.data_ptr(), value.dtype, value.device, None if value.is_inference() else value._version


def _settings(module: nn.Module) -> list[tuple[str, Any]]:
    """Its plain values, by name: no module and no tensor says that an adapter is switched off."""
    own = ((name, value) for name, value in vars(module).items() if name not in _NO_SETTINGS)
    return [
        (name, repr(value) if isinstance(value, _HOLDERS) else value)
        for name, value in own
        if value is None or isinstance(value, (*_HOLDERS, *_PLAIN))
    ]


_PLAIN, _HOLDERS = (bool, int, float, str), (list, tuple, dict, set)
_LEFT_BY_A_PASS = ("rope_deltas", "_output_capturing_hooks_installed")  # by transformers, on its first one
_NO_SETTINGS = frozenset((*vars(nn.Module()), *_LEFT_BY_A_PASS))
