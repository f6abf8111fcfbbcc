"""Draws batches of prompts with a pipeline, each picture from its own seed, guarded or not."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch

from .. import registry
from ..concepts import Concept
from ..config import fingerprint
from ..errors import GuardFailed
from ..guards.stack import GuardStack
from ..pipeline.loading import load_pipeline
from ..types import Prompt
from .attempts import Drawn
from .spec import Variant


class Artist:
    """A pipeline that draws. ``identity`` names its classes and the bytes of its weights."""

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline
        self.identity = _identity(pipeline)
        self._guards: dict[str, Any] = {}

    @classmethod
    def of(cls, model: str) -> Artist:
        """The artist of a model by name: ``reference``, a folder or a Hub id."""
        return cls(load_pipeline(model))

    def draw(
        self, prompts: Sequence[Prompt], variant: Variant, concept: Concept, *, steps: int, guidance_scale: float
    ) -> list[Drawn]:
        """One batch. Noise is drawn on the CPU, so that a seed means the same picture's start on every device.

        A guard that fails closed gives pictures of None; every other error is raised.
        """
        generators = [torch.Generator("cpu").manual_seed(prompt.seed) for prompt in prompts]
        start = time.perf_counter()
        try:
            with self._guarded(variant, concept) as attachment:
                images = self.pipeline(
                    [prompt.text for prompt in prompts],
                    num_inference_steps=steps,
                    guidance_scale=guidance_scale,
                    generator=generators,
                    output_type="pil",
                ).images
                acted = _acted(attachment, len(prompts))
        except GuardFailed as error:
            share = (time.perf_counter() - start) / len(prompts)
            return [Drawn(None, {}, share, str(error)) for _ in prompts]
        share = (time.perf_counter() - start) / len(prompts)
        return [Drawn(image, steps_of, share) for image, steps_of in zip(images, acted, strict=True)]

    def cut_tokens(self, text: str) -> int:
        """How many tokens of a prompt the text encoder will not see."""
        tokenizer = self.pipeline.tokenizer
        return max(0, len(tokenizer(text, verbose=False).input_ids) - tokenizer.model_max_length)

    def _guarded(self, variant: Variant, concept: Concept) -> Any:
        if not variant.names:
            return nullcontext()
        key = fingerprint([variant.names, variant.settings, concept.to_dict()])
        if key not in self._guards:
            self._guards[key] = guards_of(variant, concept)
        return self._guards[key].attach(self.pipeline)


def guards_of(variant: Variant, concept: Concept) -> GuardStack | None:
    """The variant's guards; None where there is none. Needs no pipeline, so that mistakes show early.

    Raises:
        ConfigError: unknown names or settings, or guards that can't stand together.
    """
    guards = [registry.get("guards", name)(concept, **variant.settings.get(name, {})) for name in variant.names]
    return GuardStack(*guards) if guards else None


def _acted(attachment: Any, count: int) -> list[dict[str, int]]:
    """For each picture and guard, in how many steps the guard did something."""
    if attachment is None:
        return [{} for _ in range(count)]
    reports = attachment.last.guards
    return [{report.guard: report.active_steps[place] for report in reports} for place in range(count)]


def _identity(pipeline: Any) -> str:
    digest = hashlib.sha256()
    for name in ("text_encoder", "unet", "vae"):
        for key, tensor in getattr(pipeline, name).state_dict().items():
            digest.update(key.encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    scheduler = pipeline.scheduler
    digest.update(f"{type(scheduler).__name__} {sorted(scheduler.config.items(), key=str)}".encode())
    return f"{type(pipeline).__name__} {digest.hexdigest()[:12]}"
