"""What a static attack found against the unguarded pipeline, kept in the record so that it is found once."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from ..types import Adversarial, LatentStart

Found = Mapping[str, Sequence[Adversarial]]


def save(folder: Path, key: str, found: Found) -> None:
    """Write candidates by the prompt's id: ``KEY.json``, and their tensors beside it. Whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Any] = {}
    plain = {
        prompt: [_plain(one, f"{prompt}/{place}", tensors) for place, one in enumerate(rows)]
        for prompt, rows in found.items()
    }
    if tensors:
        part = folder / f"{key}.{os.getpid()}.part"
        save_file(tensors, part)
        part.replace(folder / f"{key}.safetensors")
    part = folder / f"{key}.{os.getpid()}.part"
    part.write_text(json.dumps(plain), encoding="utf-8")
    part.replace(folder / f"{key}.json")


def load(folder: Path, key: str) -> Found | None:
    """What was saved under the key; None where nothing was."""
    file, tensors = folder / f"{key}.json", folder / f"{key}.safetensors"
    if not file.is_file():
        return None
    kept = load_file(tensors) if tensors.is_file() else {}
    return {
        prompt: tuple(_adversarial(one, f"{prompt}/{place}", kept) for place, one in enumerate(rows))
        for prompt, rows in json.loads(file.read_text(encoding="utf-8")).items()
    }


def _plain(one: Adversarial, name: str, tensors: dict[str, Any]) -> dict[str, Any]:
    """Everything but the tensors, which go to ``tensors``."""
    latents = one.start.latents if one.start else None
    parts = {"token_embeds": one.token_embeds, "embeds": one.embeds, "latents": latents}
    tensors.update({f"{name}/{part}": rows.cpu().contiguous() for part, rows in parts.items() if rows is not None})
    start = asdict(replace(one.start, latents=None)) if one.start else None
    return {"text": one.text, "seed": one.seed, "start": start, "note": dict(one.note)}


def _adversarial(values: Mapping[str, Any], name: str, tensors: Mapping[str, Any]) -> Adversarial:
    rows = {part: tensors.get(f"{name}/{part}") for part in ("token_embeds", "embeds", "latents")}
    start = values["start"] and LatentStart(**{**values["start"], "latents": rows["latents"]})
    return Adversarial(
        values["text"],
        token_embeds=rows["token_embeds"],
        embeds=rows["embeds"],
        seed=values["seed"],
        start=start,
        note=values["note"],
    )
