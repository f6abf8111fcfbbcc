"""Draws batches of prompts with a pipeline, each picture from its own seed, guarded or not."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from ...concepts import Concept
from ...config import fingerprint
from ...guards.loading import stack_of
from ...guards.stack import GuardStack
from ...pipeline.attach.attachment import Attachment
from ...pipeline.families import family_of
from ...pipeline.generation import acted_by, each_alone, generate, outcome
from ...pipeline.loading import REFERENCE, check_steps, image_to_image, load_pipeline
from ...reference import world
from ...types import Drawn, Prompt, Start
from ..spec.variant import Variant
from .generation import strength_of
from .memory import Peak

STREAM = 1  # beside the seed: the noise of the picture is drawn from the seed alone


class ImageGenerator:
    """A pipeline that draws. ``identity`` names its classes and the bytes of its weights.

    ``model`` says for which model of the package guards of its own are taken.
    """

    def __init__(self, pipeline: Any, model: str = REFERENCE) -> None:
        self.pipeline, self.model = pipeline, model
        self.identity = _identity(pipeline)
        self._guards: dict[str, GuardStack] = {}
        self._identities: dict[GuardStack, list[str]] = {}  # tensors are hashed once, not for every prompt
        self._attached: Attachment | None = None
        self._from_images: Any = None

    @classmethod
    def of(cls, model: str) -> ImageGenerator:
        """The generator of a model by name: ``reference``, a folder or a Hub id."""
        return cls(load_pipeline(model), model)

    def draw(
        self, prompts: Sequence[Prompt], variant: Variant, concept: Concept, *, steps: int, guidance_scale: float
    ) -> list[Drawn]:
        """One batch, each picture from its prompt's seed.

        Prompts with a start picture go to the model's image-to-image pipeline; a batch holds only such, all of one
        strength, or none. Where a guard fails closed, or can't stand on the model, there is no picture, whatever else
        is in the batch, and ``Drawn.error`` says why; every other error is raised.
        """
        check_steps(self.pipeline, steps)

        def batch(prompts: Sequence[Prompt]) -> list[Drawn]:
            return self._batch(prompts, variant, concept, steps, guidance_scale)

        return each_alone(batch, prompts)

    def _batch(
        self, prompts: Sequence[Prompt], variant: Variant, concept: Concept, steps: int, guidance_scale: float
    ) -> list[Drawn]:
        init_images = [init_image(prompt, prompt.start) for prompt in prompts if prompt.start]
        options = {"image": init_images, "strength": strength_of(prompts[0])} if init_images else {}
        pipeline = self._image_to_image() if init_images else self.pipeline
        self.attach(variant, concept, pipeline)
        start = time.perf_counter()
        with Peak(pipeline.device) as peak:
            output, report = generate(
                pipeline,
                [prompt.seed for prompt in prompts],
                steps=steps,
                guidance_scale=guidance_scale,
                prompt=[prompt.text for prompt in prompts],
                output_type="pil",
                **options,
            )
        share = (time.perf_counter() - start) / len(prompts)
        return outcome(output, acted_by(report, len(prompts)), seconds=share, peak_mib=peak.mib)

    def cut_tokens(self, text: str) -> int:
        """How many tokens of a prompt the text encoder will not see."""
        tokenizer = self.pipeline.tokenizer
        return max(0, len(tokenizer(text, verbose=False).input_ids) - tokenizer.model_max_length)

    def identity_of(self, variant: Variant, concept: Concept) -> list[str]:
        """What the variant's guards are: their settings and their tensors."""
        if not variant.names:
            return []
        stack = self._stack(variant, concept)
        if stack not in self._identities:
            self._identities[stack] = [guard.identity for guard in stack.guards]
        return self._identities[stack]

    def release(self) -> None:
        """Take the last variant's guards off the pipeline."""
        if self._attached:
            self._attached.detach()
        self._attached = None

    def attach(self, variant: Variant, concept: Concept, pipeline: Any = None) -> Attachment | None:
        """The variant's guards on the pipeline; they stay on for as long as the same are asked for."""
        pipeline = pipeline or self.pipeline
        wanted = self._stack(variant, concept).guards if variant.names else ()
        attached = (self._attached.guards, self._attached.pipeline) if self._attached else ((), pipeline)
        if attached[0] != wanted or attached[1] is not pipeline:
            self.release()
            self._attached = GuardStack(*wanted).attach(pipeline) if wanted else None
        return self._attached

    def _image_to_image(self) -> Any:
        """Made when it is first needed, and before a guard stands on the model that it shares."""
        if self._from_images is None:
            self.release()
            self._from_images = image_to_image(self.pipeline)
        return self._from_images

    def _stack(self, variant: Variant, concept: Concept) -> GuardStack:
        key = fingerprint([variant.names, variant.settings, concept.to_dict()])
        if key not in self._guards:
            self._guards[key] = guards_of(variant, concept, self.model)
        return self._guards[key]


def init_image(prompt: Prompt, start: Start) -> Image.Image:
    """What image to image begins with, 48×48 RGB; place, size and shades follow from the prompt's seed."""
    scene = world.Scene(start.objects, start.style or world.DEFAULT_STYLE, start.background or "white")
    return Image.fromarray(world.render(scene, np.random.default_rng([prompt.seed, STREAM])))


def guards_of(variant: Variant, concept: Concept, model: str = REFERENCE) -> GuardStack:
    """The variant's guards, those of the package for ``model``. Needs no pipeline, so that mistakes show early.

    Raises:
        ConfigError: unknown names or settings, no guard at all, or guards that can't stand together.
    """
    return stack_of(variant.names, concept, variant.settings, model)


def _identity(pipeline: Any) -> str:
    digest = hashlib.sha256()
    encoders = sorted(name for name in pipeline.components if name.startswith("text_encoder"))
    parts = (getattr(pipeline, name, None) for name in (*encoders, *family_of(pipeline).denoisers, "vae"))
    for part in filter(None, parts):
        for key, tensor in part.state_dict().items():
            digest.update(key.encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    config = dict(pipeline.scheduler.config)
    if unsaid := config.get("_use_default_values"):  # diffusers makes this list of a set: another order every time
        config["_use_default_values"] = sorted(unsaid)
    digest.update(f"{type(pipeline.scheduler).__name__} {sorted(config.items(), key=str)}".encode())
    return f"{type(pipeline).__name__} {digest.hexdigest()[:12]}"
