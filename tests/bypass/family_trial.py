"""A trial on a pipeline of another family: tiny, of the real classes, one prompt, one step."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

import tiny_families
from bypass.routes import Route
from bypass.trial import KNIFE, UNSAFE, Trial
from small_guards import Half, Identity, Mute, Small, Zero
from stanchion import TraSCE, load_guard
from stanchion.guards.base import TextGuard
from stanchion.pipeline.proof.checksums import checksums
from stanchion.types import Steered


class Words(Small, TextGuard):
    """Takes a tenth of the states of a prompt whose own tokens say knife."""

    name = "words"
    factor = 0.1

    def begin(self, call: Any) -> Any:
        return call

    def steer(self, embeds: Any, state: Any) -> Steered:
        own = zip(embeds.token_ids, embeds.content, strict=True)
        said = torch.tensor(["knife" in state.words(ids[content]) for ids, content in own])
        acted = said & (embeds.role == "prompt")
        return Steered(torch.where(acted[:, None, None], self.factor * embeds.embeds, embeds.embeds), acted)


class Nothing(Small, TextGuard):
    """Leaves the states, and so the pooled vector, what they are."""

    name = "nothing"

    def steer(self, embeds: Any, state: Any) -> Steered:
        return Steered(embeds.embeds, torch.zeros(len(embeds.embeds), dtype=torch.bool))


GUARDS: dict[str, Callable[[Any], Any]] = {
    "text": lambda pipe: Half(),
    "text, first half": lambda pipe: Half(until=0.5),
    "words": lambda pipe: Words(),
    "attention": lambda pipe: Mute(projections=("k", "v")),
    "trajectory": lambda pipe: TraSCE(KNIFE, when="always"),
    "trasce": lambda pipe: TraSCE(KNIFE),
    "negative_prompt": lambda pipe: load_guard("negative_prompt", concept=KNIFE),
    "sld": lambda pipe: load_guard("sld", concept=KNIFE),
    "weights": lambda pipe: Zero(pipe, *WEIGHTS[type(pipe).__name__]),
}
WEIGHTS = {
    "WanPipeline": [f"{name}.blocks.0.attn2.to_v.weight" for name in ("transformer", "transformer_2")],
    "FluxPipeline": ["transformer.transformer_blocks.0.attn.to_v.weight"],
}


class FamilyTrial(Trial):
    """One run of a route on the pipeline class that it names."""

    idle: Mapping[str, Callable[[Any], Any]] = {  # type: ignore[assignment]
        **dict.fromkeys(("text", "text, first half", "words"), lambda pipe: Nothing()),
        "attention": lambda pipe: Mute(factor=1.0),
        **dict.fromkeys(("trajectory", "negative_prompt"), lambda pipe: Identity()),
    }

    def __init__(self, route: Route, guard: str | None, kinds: Mapping[str, Callable[[Any], Any]] = GUARDS) -> None:
        self.route, self.guard, self._kinds = route, guard, kinds
        self.after, self._made = ExitStack(), None
        self.attachments, self.last = {}, None
        whole = tiny_families.pipeline(route.on)
        _contents_of(route.on)
        self.pipe = again(whole) if route.shared else tiny_families.fresh(route.on)
        if route.attached:
            self.attach()

    @property
    def pristine(self) -> bool:
        return _contents(tiny_families.pipeline(self.route.on)) == _contents_of(self.route.on)

    def draw(self, pipe: Any = None, prompt: Any = UNSAFE, **options: Any) -> Tensor:
        """Pictures of a pipeline; of none of the class's usual arguments where their value here is ``...``."""
        pipe = self.pipe if pipe is None else pipe
        pipe.set_progress_bar_config(disable=True)
        self.last = self.attachments.get(id(pipe))
        prompts = [prompt] if isinstance(prompt, str) else prompt
        tiny = tiny_families.TINY[type(pipe).__name__]
        usual = {name: value() if callable(value) else value for name, value in tiny.options.items()}
        if tiny.negative is not None and prompts:
            usual["negative_prompt"] = [tiny.negative] * len(prompts)
        given = {"num_inference_steps": 1, "output_type": "np", **usual, **options}
        given = {name: value for name, value in given.items() if value is not ...}
        output = pipe(prompt=prompts, generator=torch.Generator().manual_seed(0), **given)
        return torch.as_tensor(output.frames if hasattr(output, "frames") else output.images)


def again(pipe: Any) -> Any:
    """Another object with the same modules and settings."""
    wanted = inspect.signature(type(pipe).__init__).parameters
    settings = {name: value for name, value in pipe.config.items() if name in wanted}
    return type(pipe)(**{**settings, **pipe.components})


def _contents(pipe: Any) -> list[int]:
    modules = [part for _, part in sorted(pipe.components.items()) if isinstance(part, nn.Module)]
    return checksums([parameter for module in modules for parameter in module.parameters()])


@cache
def _contents_of(kind: str) -> list[int]:
    return _contents(tiny_families.pipeline(kind))
