"""Tiny pipelines of random weights, one a pipeline class: real classes, nothing downloaded, a picture in no time.

A file a family, found by itself: its ``TINY`` says by class how a pipeline is built and called.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import diffusers
import torch

from copies import Copies

from .spec import Tiny

PROMPTS = ["a cat", "a knife on the table"]
FILES = [
    file.stem for file in sorted(Path(__file__).parent.glob("[!_]*.py")) if file.stem not in ("spec", "parts", "guards")
]
BY_FAMILY: dict[str, dict[str, Tiny]] = {name: import_module(f"{__name__}.{name}").TINY for name in FILES}
TINY: dict[str, Tiny] = {kind: tiny for family in BY_FAMILY.values() for kind, tiny in family.items()}


@cache
def pipeline(kind: str) -> Any:
    """The pipeline of a class, built once a test run: whoever changes it puts it back."""
    return _made(kind, TINY[kind].parts())


def fresh(kind: str) -> Any:
    """A pipeline of its own, with the weights of every other of its class."""
    return _made(kind, _copies(kind).one())


@cache
def _copies(kind: str) -> Copies:
    return Copies(TINY[kind].parts())


def _made(kind: str, parts: dict[str, Any]) -> Any:
    pipe = getattr(diffusers, kind)(**parts)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def draw(pipe: Any, prompts: Any = None, *, steps: int = 2, **options: Any) -> torch.Tensor:
    """Pictures (B, …) in [0, 1]; one generator a picture."""
    tiny = TINY[type(pipe).__name__]
    prompts = PROMPTS[-tiny.batch :] if prompts is None else prompts
    negative = {} if tiny.negative is None else {"negative_prompt": [tiny.negative] * len(prompts)}
    generators = [torch.Generator().manual_seed(place) for place in range(len(prompts))]
    given = {name: value() if callable(value) else value for name, value in tiny.options.items()}
    options = {"num_inference_steps": steps, "output_type": "np", **given, **negative, **options}
    output = pipe(prompt=list(prompts), generator=generators, **options)
    return torch.as_tensor(output.frames if hasattr(output, "frames") else output.images)
