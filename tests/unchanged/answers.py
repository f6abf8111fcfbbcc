"""What is compared: rows without times, pixels of pictures, what attempts found, tensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from entries import ATTEMPT, GUARDS, METRICS, Answer
from entries import attempts as attempts_of
from PIL import Image
from safetensors.torch import load_file

FIELDS = ("guard", "variant", "concept", "kind", "prompt_set", "attack", "adaptive", "updates", "metric", "seeds")
NUMBERS = ("value", "low", "high", "n", "n_unscored")
KEPT = (
    *("guard", "variant", "concept", "prompt_set", "attack", "adaptive", "restart", "acted", "adversarial", "queries"),
    *("unattacked", "verdict", "labels"),
)
TIMES = {"time_ratio", "memory_ratio", "speed_ratio", "pictures_per_second", "peak_memory"}


def rows(path: Path) -> list[Answer]:
    """The rows of a file, sorted, without what differs from run to run."""
    return rows_of(json.loads(path.read_text(encoding="utf-8")))


def rows_of(rows: Iterable[Mapping[str, Any]]) -> list[Answer]:
    """The same of rows that are no file yet."""
    return in_order(_row(values) for values in rows)


def attempts(record: Path) -> list[Answer]:
    """What a record says of each attempt, without times and without names of files."""
    lines = [{ATTEMPT.get(key, key): value for key, value in line.items()} for line in attempts_of(record)]
    return in_order(_named({"prompt": line["prompt"]["id"], **{key: line[key] for key in KEPT}}) for line in lines)


def _row(values: Mapping[str, Any]) -> Answer:
    """A time has no numbers here."""
    kept = _named({name: values[name] for name in FIELDS})
    clock = kept["metric"] in TIMES or kept["metric"].startswith("seconds_")
    numbers = {} if clock else {name: values[name] for name in NUMBERS}
    return kept | {name: round(value, 6) if isinstance(value, float) else value for name, value in numbers.items()}


def in_order(lines: Any) -> list[Answer]:
    return sorted(lines, key=lambda line: json.dumps(line, sort_keys=True))


def pictures(folder: Path) -> list[str]:
    """A hash of the pixels of each picture, sorted: what a picture's file is called is no matter."""
    files = [file for end in (".png", ".jpg") for file in files_of(folder, end)]
    return sorted(sha(np.asarray(Image.open(file).convert("RGB")).tobytes()) for file in files)


def tables(text: str) -> list[list[str]]:
    """The cells of a page's tables, line by line: how many spaces and dashes are between them is no matter."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line] for line in lines if set("".join(line)) - set("- ")]


def hashed(tensors: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for key, tensor in sorted(tensors.items()):
        digest.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _named(line: Answer) -> Answer:
    """Under its old names; a guard that lies in a folder by the folder's name."""
    guard = "+".join(Path(GUARDS.get(part, part)).name for part in line["guard"].split("+"))
    metric = {"metric": METRICS.get(line["metric"], line["metric"])} if "metric" in line else {}
    return {**line, "guard": guard, **metric}


def tensors_of(file: Path) -> Mapping[str, torch.Tensor]:
    if file.suffix == ".safetensors":
        return load_file(file)
    with np.load(file) as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files if arrays[key].dtype.kind in "fiub"}


def files_of(folder: Path, end: str) -> list[Path]:
    return sorted(folder.rglob(f"*{end}"))


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
