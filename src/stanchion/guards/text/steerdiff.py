"""SteerDiff: finds unsafe phrases in a prompt's text states and maps them to harmless ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import linear

from ...config import Share, checked
from ...errors import ArtefactError, ConfigError
from ...pipeline.straight_through import straight_through
from ...types import Call, PromptEmbeds, Steered
from ..base import TextGuard
from ..identifier import LONGEST, Identifier
from ..sayings import Sayings

NAMING = "naming."  # layers of the identifier that names what was found
NAMED = 0.5  # its probability from which on a window is named


@checked
@dataclass(frozen=True)
class SteerDiffSettings:
    """How far and what to steer.

    Attributes:
        eps: share of the mapped state in the new one, 0 (nothing) to 1 (the map alone). A flagged prompt that says
            nothing but one of the concept's phrases, twice or more, gets the map alone.
        tau: probability in [0, 1] above which a window is unsafe; the recipe calibrates one half on safe captions.
        scope: "prompt" steers every row of a flagged prompt but the first, as the authors' code does; "span" only the
            tokens that were flagged, as the paper's words have it.
        end_token: whether windows may hold the prompt's end token, in which causal text encoders gather what was said;
            the paper's may not.
    """

    eps: Share = 0.88
    tau: Share = 0.5
    scope: Literal["prompt", "span"] = "prompt"
    end_token: bool = False


def merged_spans(hits: Tensor) -> list[tuple[int, int]]:
    """Disjoint [start, end) of the rows that were flagged, from hits (L, 9) as ``Identifier.scan`` lays them out.

    From each row a span grows for as long as the windows of 1, 2, 3, … tokens are hits; spans that touch are one.
    """
    spans: list[tuple[int, int]] = []
    for start, grown in enumerate(hits.long().cumprod(1).sum(1).tolist()):
        if grown and spans and start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], start + grown))
        elif grown:
            spans.append((start, start + grown))
    return spans


@dataclass(frozen=True)
class _Parts:
    """Identifiers and map in single precision on one device; ``naming`` is the first one where there is no other."""

    identifier: Identifier
    naming: Identifier
    weight: Tensor
    bias: Tensor


class SteerDiff(TextGuard):
    """SteerDiff (Zhang, He, Chen, arXiv 2410.02710): e' = eps (W e + b) + (1 - eps) e, Eq. 3, where a prompt is unsafe.

    A prompt is unsafe where a window of one to nine rows scores above tau. Start token, harmless prompts and the
    unconditional half of guidance stay bit for bit what they were.

    Trained by the recipe of the same name; tensors: the identifier's layers, ``map.weight`` (D, D), ``map.bias`` (D,).
    Where there are layers ``naming.…`` of another identifier, the first one decides, in every row but the first: a
    causal encoder carries a phrase on into the padding, and ``prompt_embeds`` come without tokens. The other one says
    of a flagged prompt which of its own words it was. An identifier that is alone searches the prompt's own tokens,
    where they are known.
    """

    name = "steerdiff"
    Settings = SteerDiffSettings
    needs = ("words", "start_token")
    trained = True
    based_on = ("text_encoder",)

    def __init__(self, *args: Any, **values: Any) -> None:
        super().__init__(*args, **values)
        self._on: dict[torch.device, _Parts] = {}
        self._names = any(name.startswith(NAMING) for name in self.tensors)

    def check_tensors(self) -> None:
        """Also that they are an identifier's layers and a map, of one width."""
        super().check_tensors()
        width = max(1, self.tensors["map.bias"].numel()) if "map.bias" in self.tensors else 1
        with torch.device("meta"):
            layers = Identifier(width).state_dict()
        shapes = {name: tuple(value.shape) for name, value in layers.items()}
        if self._names:
            shapes |= {f"{NAMING}{name}": shape for name, shape in shapes.items()}
        self.check_shapes({**shapes, "map.weight": (width, width), "map.bias": (width,)})

    def begin(self, call: Call) -> Call:
        """The call itself, which can read token ids.

        Raises:
            ConfigError: the call skips layers of the text encoder, whose other states the guard was not trained on.
        """
        if call.clip_skip is not None:
            raise ConfigError(
                f"steerdiff reads the text encoder's last states, and clip_skip={call.clip_skip} asks for others; "
                "leave clip_skip out."
            )
        return call

    def _parts(self, device: torch.device) -> _Parts:
        """The tensors where the text states are; moved once for a device, and kept."""
        if device not in self._on:
            tensors = {name: value.to(device, torch.float32) for name, value in self.tensors.items()}
            weight, bias = tensors.pop("map.weight"), tensors.pop("map.bias")
            naming = {name.removeprefix(NAMING): tensors.pop(name) for name in list(tensors) if name.startswith(NAMING)}
            first = _identifier(tensors, len(bias))
            second = _identifier(naming, len(bias)) if naming else first
            self._on[device] = _Parts(first, second, weight, bias)
        return self._on[device]

    def steer(self, embeds: PromptEmbeds, state: Call) -> Steered:
        """The prompt's half with its unsafe rows mapped; ``details`` say for each prompt what was found, and how sure.

        With gradients on, whether a prompt is unsafe has the gradient of its highest score.

        Raises:
            ArtefactError: the states are of another width than those that the guard was trained on.
        """
        untouched = torch.zeros(len(embeds.embeds), dtype=torch.bool, device=embeds.embeds.device)
        if embeds.role == "negative":
            return Steered(embeds.embeds, untouched)
        states, parts = embeds.embeds.float(), self._parts(embeds.embeds.device)
        if states.shape[-1] != len(parts.bias):
            raise ArtefactError(
                f"steerdiff maps states of width {len(parts.bias)}, not {states.shape[-1]}: retrain it."
            )
        soft = parts.identifier.scan(states, _everywhere(embeds) if self._names else self._searched(embeds))
        scores = soft.detach()
        flagged = ~(scores.flatten(1).amax(1) <= self.settings.tau)  # a score that is no number flags as well
        named = self._naming(embeds, scores, flagged)
        found = [self._spans(prompt) if hit else [] for prompt, hit in zip(named, flagged.tolist(), strict=True)]
        words = [_words(embeds, state, row, spans) for row, spans in enumerate(found)]
        details = tuple(_detail(*prompt) for prompt in zip(scores, named, found, words, strict=True))
        if not (any(found) or soft.requires_grad):
            return Steered(embeds.embeds, untouched, details=details)
        alone = linear(states, parts.weight, parts.bias)
        mapped = self.settings.eps * alone + (1 - self.settings.eps) * states
        repeated = Sayings.of(state, self.concept).repeated(embeds.embeds)  # nothing beside the phrase to keep
        mapped = torch.where(repeated[:, None, None], alone, mapped).to(embeds.embeds.dtype)
        rows = self._rows(found, states)[..., None]
        steered = torch.where(rows, mapped, embeds.embeds)
        if soft.requires_grad:
            would = self._rows([self._spans(prompt) for prompt in named], states)[..., None]
            steered = straight_through(steered, soft.flatten(1).amax(1), (mapped - embeds.embeds) * would)
        return Steered(steered, flagged, details=details)

    @torch.no_grad()
    def _naming(self, embeds: PromptEmbeds, scores: Tensor, flagged: Tensor) -> Tensor:
        """(B, L, 9): how sure each window of a flagged prompt is a phrase; the scores where one identifier is all."""
        parts = self._parts(scores.device)
        if parts.naming is parts.identifier or not flagged.any():
            return scores
        named, rows = scores.clone(), flagged.nonzero().flatten()
        named[rows] = parts.naming.scan(embeds.embeds[rows].float(), self._searched(embeds)[rows])
        return named

    def _searched(self, embeds: PromptEmbeds) -> Tensor:
        """(B, L) bool: the rows of the prompt's own tokens; every one but the first where these are not known."""
        if embeds.content is None:
            return _everywhere(embeds)
        if not self.settings.end_token:
            return embeds.content
        lengths = embeds.content.sum(1, keepdim=True)
        rows = torch.arange(embeds.content.shape[1], device=lengths.device)
        return (rows > 0) & (rows <= lengths + 1)

    def _spans(self, scores: Tensor) -> list[tuple[int, int]]:
        """What to steer or report in a flagged prompt; its best window where no single token is a hit."""
        if spans := merged_spans(~(scores <= (NAMED if self._names else self.settings.tau))):
            return spans
        start, last = divmod(int(scores.argmax()), LONGEST)
        return [(start, start + last + 1)]

    def _rows(self, found: list[list[tuple[int, int]]], states: Tensor) -> Tensor:
        """(B, L) bool: the rows to map."""
        rows = torch.zeros(states.shape[:2], dtype=torch.bool)
        for prompt, spans in enumerate(found):
            for start, end in spans if self.settings.scope == "span" else [(1, None)] * bool(spans):
                rows[prompt, start:end] = True
        return rows.to(states.device)


def _everywhere(embeds: PromptEmbeds) -> Tensor:
    """(B, L) bool: every row but the start token's."""
    rows = torch.arange(embeds.embeds.shape[1], device=embeds.embeds.device)
    return (rows > 0).expand(embeds.embeds.shape[:2])


def _words(embeds: PromptEmbeds, call: Call, row: int, spans: list[tuple[int, int]]) -> list[str | None]:
    """What the spans say; None where the caller gave states without tokens."""
    if embeds.token_ids is None:
        return [None] * len(spans)
    return [call.words(embeds.token_ids[row, start:end]) for start, end in spans]


def _identifier(tensors: Mapping[str, Tensor], width: int) -> Identifier:
    with torch.device("meta"):
        identifier = Identifier(width)
    identifier.load_state_dict(tensors, assign=True)
    return identifier.requires_grad_(False)


def _detail(scores: Tensor, named: Tensor, spans: list[tuple[int, int]], words: list[str | None]) -> dict[str, Any]:
    """What the report says of one prompt: the highest score, and of each span its words, rows and highest score."""
    found = [
        {"words": said, "rows": [start, end], "score": round(float(named[start:end].max()), 4)}
        for said, (start, end) in zip(words, spans, strict=True)
    ]
    return {"score": round(float(scores.max()), 4), "flagged": found}
