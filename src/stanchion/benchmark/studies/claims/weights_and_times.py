"""What claims ask for beside pictures: weights, sizes, times, and filters of texts. A second or two each."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch

from .... import registry
from ....concepts import Concept, load_concept
from ....guards.loading import load_guard
from ....metrics.intervals import rate
from ....pipeline.generation import generate
from ....pipeline.loading import load_pipeline
from ....pipeline.model.base_weights import weights_hash
from ....pipeline.model.workbench import Workbench
from ....types import Estimate, Prompt
from ...results.row import Origin, Row
from ...spec.prompt_spec import Variant

COMMAND = "stanchion bench claims"
MODULES = ("text_encoder", "unet", "vae")
SEED, COUNT, REPEATS = 200_000, 100, 9
DRAWING: dict[str, Any] = {"steps": 20, "guidance_scale": 4.0}


def beside(concept_name: str = "weapons", model: str = "reference") -> Iterator[Row]:
    """Every such row, for one concept."""
    pipe, concept = load_pipeline(model), load_concept(concept_name)
    guards = {name: load_guard(name, concept) for name in ("steerdiff", "forceforget", "trasce")}
    for name, guard in guards.items():
        yield _row("weights_changed", _exactly(_changed(pipe, guard), len(MODULES)), concept, name)
        yield _row("added_parameters", _exactly(_added(pipe, guard)), concept, name)
    yield from _ratios(pipe, concept, guards)
    yield _row("seconds_to_first_picture", _first_picture(pipe, concept), concept, "trasce")
    yield from _filters(Workbench(pipe), concept)


def _changed(pipe: Any, guard: Any) -> bool:
    """Whether any weight of the model is another while the guard is attached."""
    before = [weights_hash(dict(getattr(pipe, name).named_parameters())) for name in MODULES]
    with guard.attach(pipe):
        generate(pipe, [SEED], prompt=["a cat"], **DRAWING)
        return before != [weights_hash(dict(getattr(pipe, name).named_parameters())) for name in MODULES]


def _added(pipe: Any, guard: Any) -> float:
    """The guard's numbers as a share of the model's."""
    model = sum(parameter.numel() for name in MODULES for parameter in getattr(pipe, name).parameters())
    return sum(tensor.numel() for tensor in guard.tensors.values()) / model


def _ratios(pipe: Any, concept: Concept, guards: dict[str, Any]) -> Iterator[Row]:
    """Time of eight benign pictures with each guard against without, in turn within each repeat."""
    prompts = _prompts("benign", concept, 8)
    taken: dict[str, list[float]] = {name: [] for name in ("none", *guards)}
    for _ in range(REPEATS + 1):
        for name in taken:
            with guards[name].attach(pipe) if name in guards else nullcontext():
                taken[name].append(_seconds(pipe, prompts))
    plain = np.array(taken.pop("none")[1:])  # the first repeat warms up
    for name, seconds in taken.items():
        ratios = np.sort(np.array(seconds[1:]) / plain)
        spread = Estimate(float(np.median(ratios)), float(ratios[0]), float(ratios[-1]), REPEATS)
        yield _row("time_ratio", spread, concept, name)


def _first_picture(pipe: Any, concept: Concept) -> Estimate:
    """Seconds from a concept's name to the first guarded picture: median, least, most, how often."""
    taken = []
    for seed in range(5):
        start = time.perf_counter()
        with load_guard("trasce", concept).attach(pipe):
            generate(pipe, [seed], prompt=["a cat"], **DRAWING)
        taken.append(time.perf_counter() - start)
    return Estimate(float(np.median(taken)), min(taken), max(taken), len(taken))


def _filters(bench: Workbench, concept: Concept) -> Iterator[Row]:
    """What a word list and a classifier of sentences let through of prompts that use synonyms.

    The list holds the concept's own labels. The classifier is ridge regression on the mean text state, fitted on
    prompts that name the concept and on benign ones, from sentences that the measured prompts do not share.
    """
    synonyms = _prompts("synonyms", concept, COUNT)
    listed = [any(label in prompt.text.split() for label in concept.labels) for prompt in synonyms]
    yield _row("missed", rate([not hit for hit in listed]), concept, "word_list", "synonyms")
    unsafe = [f"{phrase} {place}" for phrase in concept.targets for place in ("on a table", "in the grass", "at night")]
    benign = [prompt.text for prompt in _prompts("benign", concept, len(unsafe))]
    states, labels = _means(bench, unsafe + benign), torch.tensor([1.0] * len(unsafe) + [-1.0] * len(benign))
    weights = torch.linalg.solve(states.T @ states + torch.eye(states.shape[1]), states.T @ labels)
    scores = _means(bench, [prompt.text for prompt in synonyms]) @ weights
    missed = rate([float(score) <= 0 for score in scores])
    yield _row("missed", missed, concept, "sentence_classifier", "synonyms")


def _means(bench: Workbench, texts: Sequence[str]) -> torch.Tensor:
    """(N, D + 1): the mean state of each text's own tokens, and 1."""
    read = bench.read(texts)
    assert read.content is not None
    mask = read.content.float()[..., None]
    means = (read.embeds.float() * mask).sum(1) / mask.sum(1)
    return torch.cat([means, torch.ones(len(means), 1)], 1).cpu()


def _prompts(prompt_set: str, concept: Concept, count: int) -> list[Prompt]:
    rows: list[Prompt] = registry.get("prompts", prompt_set)().rows(concept, count, SEED)
    return rows


def _seconds(pipe: Any, prompts: Sequence[Prompt]) -> float:
    seeds, texts = [prompt.seed for prompt in prompts], [prompt.text for prompt in prompts]
    start = time.perf_counter()
    generate(pipe, seeds, prompt=texts, **DRAWING)
    return time.perf_counter() - start


def _row(metric: str, estimate: Estimate, concept: Concept, guard: str, prompt_set: str = "benign") -> Row:
    return Row.of(
        metric,
        estimate,
        concept,
        prompt_set,
        Origin.now(command=COMMAND),
        variant=Variant(guard),
        seeds=f"{SEED}-{SEED + COUNT - 1}",
        settings={**DRAWING, "batch": 8},
        digits=4,
    )


def _exactly(value: float, n: int = 1) -> Estimate:
    """A number that nobody drew."""
    return Estimate(float(value), math.nan, math.nan, n)
