"""What a static attack found against the unguarded pipeline, kept in the record so that it is found once.

KEY.json holds everything but tensors, and the hash of KEY.safetensors, which holds these.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ... import config
from ...errors import ConfigError
from ...files.documents import json_line, read_json
from ...files.tensors import load_tensors, save_tensors
from ...types import Adversarial, LatentStart

Found = Mapping[str, Sequence[Adversarial]]
PARTS = ("token_embeds", "embeds", "latents")


@dataclass(frozen=True)
class _Start:
    """A ``LatentStart`` without its latents."""

    eta: float
    noise_scale: float
    start_step: int


@dataclass(frozen=True)
class _Plain:
    """An ``Adversarial`` without its tensors."""

    text: str | None
    seed: int | None
    start: _Start | None
    note: dict[str, Any]


@dataclass(frozen=True)
class _CandidatesFile:
    """What KEY.json holds: the candidates by the prompt's id, and the SHA-256 of the tensors where there are any."""

    found: dict[str, tuple[_Plain, ...]]
    tensors: str | None


def save(folder: Path, key: str, found: Found) -> None:
    """Write candidates by the prompt's id: ``KEY.json``, and their tensors beside it. Whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    plain = {
        prompt: tuple(_plain(one, f"{prompt}/{place}", tensors) for place, one in enumerate(rows))
        for prompt, rows in found.items()
    }
    sha256 = save_tensors(folder / f"{key}.safetensors", tensors) if tensors else None
    part = folder / f"{key}.{os.getpid()}.part"
    part.write_text(json_line(asdict(_CandidatesFile(plain, sha256))), encoding="utf-8")
    part.replace(folder / f"{key}.json")


def load(folder: Path, key: str) -> Found | None:
    """What was saved under the key; None where nothing was.

    Raises:
        ConfigError: the files are not what was saved.
    """
    file = folder / f"{key}.json"
    if not file.is_file():
        return None
    try:
        kept = config.restore(_CandidatesFile, read_json(file), where=str(file))
        tensors = load_tensors(folder / f"{key}.safetensors", kept.tensors) if kept.tensors else {}
        return {
            prompt: tuple(_adversarial(one, f"{prompt}/{place}", tensors) for place, one in enumerate(rows))
            for prompt, rows in kept.found.items()
        }
    except ConfigError as error:
        raise ConfigError(f"{error} Remove {file}, and its candidates are found again.") from error


def _plain(one: Adversarial, name: str, tensors: dict[str, Tensor]) -> _Plain:
    """Everything but the tensors, which go to ``tensors``."""
    rows = (one.token_embeds, one.embeds, one.start.latents if one.start else None)
    tensors.update({f"{name}/{part}": row for part, row in zip(PARTS, rows, strict=True) if row is not None})
    start = _Start(one.start.eta, one.start.noise_scale, one.start.start_step) if one.start else None
    return _Plain(one.text, one.seed, start, dict(one.note))


def _adversarial(plain: _Plain, name: str, tensors: Mapping[str, Tensor]) -> Adversarial:
    """The candidate as it was found.

    Raises:
        ConfigError: it is not exactly one of text, token embeddings and states.
    """
    token_embeds, embeds, latents = (tensors.get(f"{name}/{part}") for part in PARTS)
    if sum(sent is not None for sent in (plain.text, token_embeds, embeds)) != 1:
        raise ConfigError(f"candidate {name} is not exactly one of text, token embeddings and states.")
    start = LatentStart(latents, **asdict(plain.start)) if plain.start else None
    return Adversarial(
        plain.text, token_embeds=token_embeds, embeds=embeds, seed=plain.seed, start=start, note=plain.note
    )
