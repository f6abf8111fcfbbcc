"""A saved guard's card: what it keeps out, for which weights, how it was made, what was measured, what it can't do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from .. import config

UNMEASURED = "Nothing was measured: measure it on your own model and prompts before you rely on it."
LIMITS = (
    "A guard acts on what the pipeline computes: whoever can edit the program can take it off. It is refused on other "
    "weights than those below. It was made for the phrases above, and other words for the same thing may get past it; "
    "attack it before you trust it (`stanchion bench` with `attacks`)."
)


def write_model_card(
    folder: Path, guard: Any, *, model: str = "", licence: str = "", measured: str = "", source: str = "this folder"
) -> None:
    """``README.md``, with the front matter that the Hub reads.

    Args:
        guard: a guard or a stack.
        model: what it is for; "the pipeline" where nobody says.
        licence: as the Hub writes it; left out where nobody says.
        measured: Markdown.
        source: what ``load_guard`` is given for it.
    """
    from huggingface_hub import ModelCard

    front: dict[str, Any] = {"library_name": "stanchion", "tags": ["stanchion", "diffusers", "safety"]}
    front |= {"license": licence} if licence else {}
    front |= {"base_model": model} if "/" in model else {}
    guards = getattr(guard, "guards", (guard,))
    concepts = " and ".join(dict.fromkeys(one.concept.name for one in guards))
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---",
        f"# {guard.name} against {concepts}",
        *(_about(one) for one in guards),
        "```python",
        "from stanchion import load_guard, load_pipeline",
        "",
        f'pipe = load_pipeline("{model or "your model"}")',
        f'load_guard("{source}").attach(pipe)',
        "```",
        "## Measured",
        measured or UNMEASURED,
        "## Limits",
        LIMITS,
        "## Made for",
        *(_base(one, model) for one in guards),
        "## Made with",
        *(_made(one) for one in guards),
    ]
    card = str(ModelCard("\n".join(parts) + "\n"))  # refuses a front matter that the Hub would not read
    (folder / "README.md").write_text(card, encoding="utf-8")


def _about(guard: Any) -> str:
    said = (type(guard).__doc__ or "").partition("\n\n")[0]
    return (
        f"A guard for diffusers pipelines (stage: {guard.stage}). It keeps out: {', '.join(guard.concept.targets)}.\n\n"
        f"{' '.join(said.split())}\n"
    )


def _base(guard: Any, model: str) -> str:
    if not guard.base:
        return f"{guard.name}: any pipeline of a supported family; it has no weights of its own."
    hashes = "\n".join(f"- {name}: {value.split()[0]}" for name, value in guard.base.items())
    return f"{guard.name}: {model or 'the model'} whose weights have these SHA-256 (in float16):\n{hashes}"


def _made(guard: Any) -> str:
    values = {**guard.training, "guard_settings": config.to_dict(guard.settings)}
    return f"```json\n{json.dumps(values, indent=2)}\n```"
