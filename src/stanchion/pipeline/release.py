"""A model as its owner releases it: guards merged into plain weights, without hooks, in a stock pipeline's folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..errors import ConfigError
from ..files.tensors import open_to_readers
from .families import family_of
from .model.base_weights import base_of, check_bases, weights_hash
from .seams.weights import WeightsSeam, check_overlap


def check_merged(guards: Sequence[Any]) -> None:
    """Needs no pipeline, so that it shows before one is loaded.

    Raises:
        ConfigError: a guard replaces no weights: it acts while a picture is drawn, and stays outside of the model;
            or two replace the same.
    """
    if hooked := [guard.name for guard in guards if not guard.weights()]:
        raise ConfigError(
            f"{', '.join(hooked)} can't be merged: it replaces no weights but acts while a picture is drawn. Leave it "
            "out, and attach it to the released pipeline."
        )
    check_overlap(guards, [guard.weights() for guard in guards])


def check_new(folder: Path) -> None:
    """Raise where the folder holds something already.

    Raises:
        ConfigError: it does.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty; give a new folder for the released model.")


def merge(pipe: Any, guards: Sequence[Any]) -> None:
    """Put the weights of ``guards`` into an unguarded pipeline for good.

    Raises:
        ConfigError: a guard replaces no weights: it acts while a picture is drawn, and stays outside of the model.
        ArtefactError: a guard was made for other weights.
    """
    check_merged(guards)
    check_bases(pipe, tuple(guards), family_of(pipe).named)
    seam = WeightsSeam(pipe, list(guards))
    seam.put()
    seam.keep()


def release(
    pipe: Any, guards: Sequence[Any], folder: str | Path, *, model: str, dtype: torch.dtype = torch.float32
) -> Path:
    """Merge ``guards`` and write the pipeline with its card; stock diffusers loads the folder.

    Args:
        pipe: unguarded; its weights are changed.
        model: what it was loaded from, for the card.
        dtype: of the stored weights.
    """
    folder = Path(folder)
    check_new(folder)
    before = _hashes(pipe, guards)
    merge(pipe, guards)
    pipe.to(dtype)
    pipe.save_pretrained(folder, safe_serialization=True)
    _load_alike(folder)
    open_to_readers(*folder.rglob("*.safetensors"))
    (folder / "README.md").write_text(_model_card(pipe, guards, model, before), encoding="utf-8")
    return folder


def _load_alike(folder: Path) -> None:
    """Take out in what type each part was saved: transformers would load its own parts so, and diffusers would not."""
    for file in folder.glob("*/config.json"):
        values = json.loads(file.read_text(encoding="utf-8"))
        if "dtype" in values:
            file.write_text(json.dumps({**values, "dtype": "float32"}, indent=2) + "\n", encoding="utf-8")


def _hashes(pipe: Any, guards: Sequence[Any]) -> dict[str, str]:
    """Of each module that is going to change."""
    modules = sorted({key.partition(".")[0] for guard in guards for key in guard.weights()})
    return {name: base_of(dict(getattr(pipe, name).named_parameters())) for name in modules}


def card_head(
    pipe: Any, guards: Sequence[Any], model: str, *, about: str, load: Sequence[str], lora: bool = False
) -> list[str]:
    """How the card of a release begins: the front matter, a title, what it is, and the lines that ``load`` it."""
    concepts = sorted({guard.concept.name for guard in guards})
    return [
        "---",
        "library_name: diffusers",
        f"tags: [stanchion, safety{', lora' if lora else ''}]",
        f"base_model: {model}",
        "---",
        f"# {model} without {', '.join(concepts)}{': a LoRA' if lora else ''}",
        about,
        "```python",
        f"from diffusers import {type(pipe).__name__}",
        "",
        *load,
        "```",
    ]


def _model_card(pipe: Any, guards: Sequence[Any], model: str, before: dict[str, str]) -> str:
    after = _hashes(pipe, guards)
    about = "A plain diffusers pipeline: the guards below are merged into its weights, and no code of theirs is needed."
    load = f'pipe = {type(pipe).__name__}.from_pretrained("this folder")'
    lines = [
        *card_head(pipe, guards, model, about=about, load=[load]),
        "## Merged",
        "| guard | against | weights | SHA-256 of its weights in float16 |",
        "|---|---|---|---|",
        *(
            f"| {guard.name} | {', '.join(guard.concept.targets)} | {len(guard.weights())} | "
            f"{weights_hash(guard.weights())} |"
            for guard in guards
        ),
        "## Hashes",
        "SHA-256 over names, shapes and values in float16.",
        "",
        "| module | before | now |",
        "|---|---|---|",
        *(f"| {name} | {value.split()[0]} | {after[name].split()[0]} |" for name, value in before.items()),
    ]
    return "\n".join(lines) + "\n"
