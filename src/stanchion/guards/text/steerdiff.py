"""SteerDiff: finds unsafe phrases in a prompt's text states and maps them to harmless ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import linear

from ...config import Share, checked
from ...errors import ArtefactError, ConfigError, UnsupportedPipeline
from ...pipeline.model.text_streams import apart, filled, normed, together
from ...pipeline.straight_through import straight_through
from ...types import Call, PromptEmbeds, Steered
from ..base import TextGuard
from ..identifier import LONGEST, Identifier
from ..sayings import Sayings
from ._long_prompts import PromptPart, parts_of, token_ids_of

WHOLE = "text_encoder"  # the stream of tensors whose names say none
MAP = "map.bias"
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
        scope: "prompt" steers every row of a flagged prompt but a start token's, as the authors' code does; "span" only
            the tokens that were flagged, as the paper's words have it.
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


@dataclass(frozen=True)
class _Look:
    """One stream of prompts: the parts for it, (B, L, 9) what they name, and in each flagged prompt the spans."""

    view: PromptEmbeds
    parts: _Parts
    named: Tensor
    found: list[list[tuple[int, int]]]


class SteerDiff(TextGuard):
    """SteerDiff (Zhang, He, Chen, arXiv 2410.02710): e' = eps (W e + b) + (1 - eps) e, Eq. 3, where a prompt is unsafe.

    A prompt is unsafe where a window of one to nine rows scores above tau. Start token, harmless prompts and the
    unconditional half of guidance stay bit for bit what they were.

    Trained by the recipe of the same name; tensors: the identifier's layers, ``map.weight`` (D, D), ``map.bias`` (D,).
    Where there are layers ``naming.…`` of another identifier, the first one decides, in every row but the first: a
    causal encoder carries a phrase on into the padding, and ``prompt_embeds`` come without tokens. The other one says
    of a flagged prompt which of its own words it was. An identifier that is alone searches the prompt's own tokens,
    where they are known.

    Where several text encoders read the prompt, or one that is no CLIP, each stream of states has tensors of its own,
    ``t5.map.weight`` and so on. A prompt that is unsafe in one of them is steered in all.
    """

    name = "steerdiff"
    Settings = SteerDiffSettings
    needs = ("words", "streams")
    wishes = ("repetition",)
    trained = True
    learns_on = ("words", "streams")
    based_on: tuple[str, ...] = (WHOLE,)

    def __init__(self, *args: Any, **values: Any) -> None:
        super().__init__(*args, **values)
        self._on: dict[torch.device, dict[str, _Parts]] = {}
        self._names = any(name.endswith(f"{NAMING}last.bias") for name in self.tensors)
        prefixes = [name.removesuffix(MAP) for name in self.tensors if name.endswith(MAP)] or [""]
        self._prefixes = {prefix.rstrip(".") or WHOLE: prefix for prefix in prefixes}
        self.based_on = tuple(self._prefixes)

    def check_tensors(self) -> None:
        """Also that they are an identifier's layers and a map, of one width in each stream."""
        super().check_tensors()
        wanted: dict[str, tuple[int, ...]] = {}
        for prefix in self._prefixes.values():
            width = max(1, self.tensors[prefix + MAP].numel()) if prefix + MAP in self.tensors else 1
            with torch.device("meta"):
                layers = Identifier(width).state_dict()
            shapes = {name: tuple(value.shape) for name, value in layers.items()}
            if self._names:
                shapes |= {f"{NAMING}{name}": shape for name, shape in shapes.items()}
            shapes |= {"map.weight": (width, width), MAP: (width,)}
            wanted |= {prefix + name: shape for name, shape in shapes.items()}
        self.check_shapes(wanted)

    def check_streams(self, streams: Sequence[str], cover: str) -> None:
        """Also that it was trained for every text encoder of the pipeline, or for some where that is enough.

        Raises:
            ArtefactError: with the names of the streams.
        """
        own = tuple(self._prefixes)
        unread, absent = set(streams) - set(own), set(own) - set(streams)
        if absent or (unread and cover == "whole"):
            partly = "" if absent else ", or attach it with cover='partial', which lets the others pass"
            raise ArtefactError(
                f"steerdiff was trained for {' and '.join(own)}, and this pipeline's prompts are read by "
                f"{' and '.join(streams)}: train it on this pipeline{partly}."
            )

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

    def _parts(self, device: torch.device) -> dict[str, _Parts]:
        """By stream, the tensors where the text states are; moved once for a device, and kept."""
        if device not in self._on:
            self._on[device] = {name: self._read(prefix, device) for name, prefix in self._prefixes.items()}
        return self._on[device]

    def _read(self, prefix: str, device: torch.device) -> _Parts:
        own = {name.removeprefix(prefix): value for name, value in self.tensors.items() if name.startswith(prefix)}
        tensors = {name: value.to(device, torch.float32) for name, value in own.items()}
        weight, bias = tensors.pop("map.weight"), tensors.pop(MAP)
        naming = {name.removeprefix(NAMING): tensors.pop(name) for name in list(tensors) if name.startswith(NAMING)}
        first = _identifier(tensors, len(bias))
        return _Parts(first, _identifier(naming, len(bias)) if naming else first, weight, bias)

    def steer(self, embeds: PromptEmbeds, state: Call) -> Steered:
        """The prompt's half with its unsafe rows mapped; ``details`` say for each prompt what was found, and how sure.

        With gradients on, whether a prompt is unsafe has the gradient of its highest score.

        Raises:
            ArtefactError: the states are of another width than those that the guard was trained on.
        """
        untouched = torch.zeros(len(embeds.embeds), dtype=torch.bool, device=embeds.embeds.device)
        if embeds.role == "negative":
            return Steered(embeds.embeds, untouched)
        known = replace(embeds, streams=tuple(one for one in embeds.streams if one.name in self._prefixes))
        views, parts = apart(known), self._parts(embeds.embeds.device)
        scores = [self._scored(view, parts[view.streams[0].name], state) for view in views]
        highest = torch.stack([one.flatten(1).amax(1) for one in scores]).amax(0)
        flagged = ~(highest.detach() <= self.settings.tau)  # a score that is no number flags as well
        looks = [self._look(view, parts, one.detach(), flagged) for view, one in zip(views, scores, strict=True)]
        details = tuple(_detail(row, highest.detach(), looks, state) for row in range(len(untouched)))
        if not (flagged.any() or highest.requires_grad):
            return Steered(embeds.embeds, untouched, details=details)
        repeated = Sayings.of(state, self.concept).repeated(embeds.embeds)  # nothing beside the phrase to keep
        steered = [self._mapped(look, repeated, highest) for look in looks]
        return Steered(together(known, steered), flagged, details=details)

    def _scored(self, view: PromptEmbeds, parts: _Parts, call: Call) -> Tensor:
        """(B, L, 9): how sure each window of a stream is unsafe, where it stands or in its part of a long prompt.

        The gradient is that of where it stands.

        Raises:
            UnsupportedPipeline: so few rows of text that no part of it could be read by itself.
        """
        if (rows := view.embeds.shape[1]) < 2 * LONGEST:
            raise UnsupportedPipeline(
                f"steerdiff was given {rows} rows of text, in which it hears hardly anything: give "
                f"at least {2 * LONGEST} (a longer max_sequence_length, or prompt_embeds as encode_prompt gives them)."
            )
        scores = self._scan(view, parts)
        found = parts_of(view) if "token_ids" in call.offers else []
        if not found:
            return scores
        heard = scores.detach().clone()
        for part, score in zip(found, self._heard(found, view, parts, call), strict=True):
            place = (part.row, part.start, part.size - 1)
            heard[place] = torch.maximum(heard[place], score)
        return scores + (heard - scores.detach())

    @torch.no_grad()
    def _heard(self, found: list[PromptPart], view: PromptEmbeds, parts: _Parts, call: Call) -> Tensor:
        """(len(found),) the highest score in each part, read by itself."""
        (empty,) = (one for one in apart(call.read([""])) if one.streams[0].name == view.streams[0].name)
        assert empty.token_ids is not None
        ids = token_ids_of(found, view, empty.token_ids[0])
        states = call.read_ids(ids, view.streams[0])
        return self._scan(replace(view, embeds=states, token_ids=None, content=None), parts).flatten(1).amax(1)

    def _scan(self, view: PromptEmbeds, parts: _Parts) -> Tensor:
        """(B, L, 9): how sure each window of a stream is unsafe, 0 where no window is searched."""
        states, _ = normed(view)
        if states.shape[-1] != len(parts.bias):
            raise ArtefactError(
                f"steerdiff maps states of width {len(parts.bias)}, not {states.shape[-1]}: retrain it."
            )
        return parts.identifier.scan(states, _everywhere(view) if self._names else self._searched(view))

    def _look(self, view: PromptEmbeds, parts: Mapping[str, _Parts], scores: Tensor, flagged: Tensor) -> _Look:
        own = parts[view.streams[0].name]
        named = self._naming(view, own, scores, flagged)
        found = [self._spans(prompt) if hit else [] for prompt, hit in zip(named, flagged.tolist(), strict=True)]
        return _Look(view, own, named, found)

    def _mapped(self, look: _Look, repeated: Tensor, highest: Tensor) -> Tensor:
        """(B, L, D) states of a stream, the rows of unsafe prompts mapped: wholly where they only repeat a phrase."""
        embeds, first = look.view.embeds, look.view.streams[0].first
        states, length = normed(look.view)
        alone = linear(states, look.parts.weight, look.parts.bias)
        mapped = self.settings.eps * alone + (1 - self.settings.eps) * states
        mapped = (torch.where(repeated[:, None, None], alone, mapped) * length).to(embeds.dtype)
        there = _everywhere(look.view)
        rows = (self._rows(look.found, states, first) & there)[..., None]
        steered = torch.where(rows, mapped, embeds)
        if highest.requires_grad:
            would = (self._rows([self._spans(prompt) for prompt in look.named], states, first) & there)[..., None]
            steered = straight_through(steered, highest, (mapped - embeds) * would)
        return steered

    @torch.no_grad()
    def _naming(self, view: PromptEmbeds, parts: _Parts, scores: Tensor, flagged: Tensor) -> Tensor:
        """(B, L, 9): how sure each window of a flagged prompt is a phrase; the scores where one identifier is all."""
        if parts.naming is parts.identifier or not flagged.any():
            return scores
        named, rows = scores.clone(), flagged.nonzero().flatten()
        named[rows] = parts.naming.scan(normed(view)[0][rows], self._searched(view)[rows])
        return named

    def _searched(self, view: PromptEmbeds) -> Tensor:
        """(B, L) bool: the rows of the prompt's own tokens; all behind a start token where these are not known."""
        if view.content is None:
            return _everywhere(view)
        if not self.settings.end_token:
            return view.content
        behind = torch.cat([torch.zeros_like(view.content[:, :1]), view.content[:, :-1]], 1)
        said = view.content | behind
        return said | (~view.content.any(1, keepdim=True) & _at(view, view.streams[0].first))

    def _spans(self, scores: Tensor) -> list[tuple[int, int]]:
        """What to steer or report in a flagged prompt; its best window where no single token is a hit."""
        if spans := merged_spans(~(scores <= (NAMED if self._names else self.settings.tau))):
            return spans
        start, last = divmod(int(scores.argmax()), LONGEST)
        return [(start, start + last + 1)]

    def _rows(self, found: list[list[tuple[int, int]]], states: Tensor, first: int) -> Tensor:
        """(B, L) bool: the rows to map."""
        rows = torch.zeros(states.shape[:2], dtype=torch.bool)
        for prompt, spans in enumerate(found):
            for start, end in spans if self.settings.scope == "span" else [(first, None)] * bool(spans):
                rows[prompt, start:end] = True
        return rows.to(states.device)


def _everywhere(view: PromptEmbeds) -> Tensor:
    """(B, L) bool: every row but what stands before a text, and zeros behind it, which are no states."""
    rows = torch.arange(view.embeds.shape[1], device=view.embeds.device)
    return (rows >= view.streams[0].first) & filled(view.embeds)


def _at(view: PromptEmbeds, row: int) -> Tensor:
    """(L,) bool: that row alone."""
    return torch.arange(view.embeds.shape[1], device=view.embeds.device) == row


def _words(view: PromptEmbeds, call: Call, row: int, start: int, end: int) -> str | None:
    """What a span says; None where the caller gave states without tokens."""
    return None if view.token_ids is None else call.words(view.token_ids[row, start:end], view.streams[0])


def _identifier(tensors: Mapping[str, Tensor], width: int) -> Identifier:
    with torch.device("meta"):
        identifier = Identifier(width)
    identifier.load_state_dict(tensors, assign=True)
    return identifier.requires_grad_(False)


def _detail(row: int, highest: Tensor, looks: Sequence[_Look], call: Call) -> dict[str, Any]:
    """What the report says of one prompt: the highest score, and of each span its words, rows and highest score.

    And its stream, where there are several.
    """
    found = []
    for look in looks:
        stream = {"stream": look.view.streams[0].name} if len(looks) > 1 else {}
        for start, end in look.found[row]:
            said, score = _words(look.view, call, row, start, end), float(look.named[row, start:end].max())
            found.append({"words": said, "rows": [start, end], "score": round(score, 4), **stream})
    return {"score": round(float(highest[row]), 4), "flagged": found}
