"""What studies of cost share: one pipeline, timed with several guards in turn.

Repeats are interleaved: each one draws the same prompts with every variant in turn, so that whatever else the machine
does falls on all of them alike. A ratio is taken within a repeat; a row is the median over repeats.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from ...concepts import load_concept
from ...pipeline.generation import generate
from ...pipeline.loading import load_pipeline
from ...types import Estimate, Prompt
from ..run.image_generator import guards_of
from ..spec.variant import Variant


class Timer:
    """A pipeline and one concept. Guards are loaded once and put on outside of what is timed."""

    def __init__(self, model: str, concept: str, *, steps: int, guidance_scale: float) -> None:
        self.model, self.concept, self.pipe = model, load_concept(concept), load_pipeline(model)
        self.steps, self.guidance_scale = steps, guidance_scale
        self._guards: dict[str, Any] = {}

    def guarded(self, variant: Variant) -> Any:
        """A context in which the pipeline carries the variant's guards."""
        if not variant.names:
            return nullcontext()
        if variant.title not in self._guards:
            self._guards[variant.title] = guards_of(variant, self.concept)
        return self._guards[variant.title].attach(self.pipe)

    def call(self, prompts: Sequence[Prompt]) -> Callable[[], Any]:
        """One call of the pipeline, ready to be made."""
        texts, seeds = [prompt.text for prompt in prompts], [prompt.seed for prompt in prompts]
        return lambda: generate(self.pipe, seeds, steps=self.steps, guidance_scale=self.guidance_scale, prompt=texts)

    def seconds(self, variant: Variant, prompts: Sequence[Prompt]) -> float:
        """Wall time of one call, its batch and all, as in a service: the guard was attached and used before."""
        with self.guarded(variant):
            generate(self.pipe, [0], steps=1, guidance_scale=self.guidance_scale, prompt=[""])
            call = self.call(prompts)
            _wait()
            start = time.perf_counter()
            call()
            _wait()
            return time.perf_counter() - start

    def times(self, variants: Sequence[Variant], chunks: Sequence[Sequence[Prompt]], label: str) -> np.ndarray:
        """Seconds (variants, repeats): one repeat a chunk of prompts; the first warms up and is left out."""
        taken = [
            [self.seconds(variant, chunk) for variant in variants] for chunk in tqdm(chunks, desc=label, disable=None)
        ]
        return np.array(taken[1:]).T


def median(values: np.ndarray) -> Estimate:
    """The median with a bootstrapped 95 % interval."""
    drawn = np.random.default_rng(0).choice(values, (2000, len(values)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return Estimate(float(np.median(values)), float(low), float(high), len(values))


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
