"""What claims ask for beside pictures: weights, sizes, times, and filters of texts. A second or two each."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch

from .... import registry
from ....concepts import Concept, load_concept
from ....guards.loading import load_guard
from ....metrics.intervals import wilson
from ....pipeline.generation import generate
from ....pipeline.loading import load_pipeline
from ....pipeline.model.base_weights import weights_hash
from ....pipeline.model.workbench import Workbench
from ....types import Prompt
from ...results.row import Row
from ...store.provenance import commit, machine

COMMAND = "stanchion bench claims"
MODULES = ("text_encoder", "unet", "vae")
SEED, COUNT, REPEATS = 200_000, 100, 9
DRAWING: dict[str, Any] = {"steps": 20, "guidance_scale": 4.0}


def beside(concept_name: str = "weapons", model: str = "reference") -> Iterator[Row]:
    """Every such row, for one concept."""
    pipe, concept = load_pipeline(model), load_concept(concept_name)
    guards = {name: load_guard(name, concept) for name in ("steerdiff", "forceforget", "trasce")}
    for name, guard in guards.items():
        yield _row(concept, name, "weights_changed", float(_changed(pipe, guard)), n=len(MODULES))
        yield _row(concept, name, "added_parameters", _added(pipe, guard), n=1)
    yield from _ratios(pipe, concept, guards)
    yield _row(concept, "trasce", "seconds_to_first_picture", *_first_picture(pipe, concept))
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
        yield _row(concept, name, "time_ratio", float(np.median(ratios)), float(ratios[0]), float(ratios[-1]), REPEATS)


def _first_picture(pipe: Any, concept: Concept) -> tuple[float, float, float, int]:
    """Seconds from a concept's name to the first guarded picture: median, least, most, how often."""
    taken = []
    for seed in range(5):
        start = time.perf_counter()
        with load_guard("trasce", concept).attach(pipe):
            generate(pipe, [seed], prompt=["a cat"], **DRAWING)
        taken.append(time.perf_counter() - start)
    return float(np.median(taken)), min(taken), max(taken), len(taken)


def _filters(bench: Workbench, concept: Concept) -> Iterator[Row]:
    """What a word list and a classifier of sentences let through of prompts that use synonyms.

    The list holds the concept's own labels. The classifier is ridge regression on the mean text state, fitted on
    prompts that name the concept and on benign ones, from sentences that the measured prompts do not share.
    """
    synonyms = _prompts("synonyms", concept, COUNT)
    listed = [any(label in prompt.text.split() for label in concept.labels) for prompt in synonyms]
    yield _share(concept, "word_list", [not hit for hit in listed])
    unsafe = [f"{phrase} {place}" for phrase in concept.targets for place in ("on a table", "in the grass", "at night")]
    benign = [prompt.text for prompt in _prompts("benign", concept, len(unsafe))]
    states, labels = _means(bench, unsafe + benign), torch.tensor([1.0] * len(unsafe) + [-1.0] * len(benign))
    weights = torch.linalg.solve(states.T @ states + torch.eye(states.shape[1]), states.T @ labels)
    scores = _means(bench, [prompt.text for prompt in synonyms]) @ weights
    yield _share(concept, "sentence_classifier", [float(score) <= 0 for score in scores])


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


def _share(concept: Concept, name: str, missed: Sequence[bool]) -> Row:
    low, high = wilson(sum(missed), len(missed))
    return _row(concept, name, "missed", sum(missed) / len(missed), low, high, len(missed), "synonyms")


def _row(
    concept: Concept,
    guard: str,
    metric: str,
    value: float,
    low: float | None = None,
    high: float | None = None,
    n: int = 1,
    prompt_set: str = "benign",
) -> Row:
    low, high = (None if bound is None else round(bound, 4) for bound in (low, high))
    return Row(
        guard=guard,
        variant="default",
        concept=concept.name,
        kind=concept.kind,
        prompt_set=prompt_set,
        metric=metric,
        value=round(value, 4),
        low=low,
        high=high,
        n=n,
        n_unscored=0,
        seeds=f"{SEED}-{SEED + COUNT - 1}",
        judge="none",
        model="reference",
        command=COMMAND,
        commit=commit(),
        machine=machine(),
        settings={**DRAWING, "batch": 8},
    )
