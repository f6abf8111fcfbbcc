"""What SteerDiff finds by text alone, on prompts that it never saw, and what its two settings do to pictures.

Over-refusal: captions in sentences that the recipe does not use, of every object outside of the concept by name or
synonym, single and in pairs, on all backgrounds, in the other styles, and captions that say nothing. Unseen synonyms:
phrases for the concept that are not among its targets. Both again as prompt_embeds, without tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from ... import registry
from ...concepts import Concept, load_concept
from ...config import Count, Natural, checked
from ...errors import JudgeError
from ...guards.loading import load_guard
from ...guards.text.steerdiff import SteerDiff
from ...judges import load_judge
from ...judges.base import Judge
from ...metrics.intervals import rate
from ...pipeline.families import family_of
from ...pipeline.model.encoding import Encoding
from ...pipeline.model.workbench import Workbench
from ...pipeline.phrase_cache import PhraseCache
from ...types import Prompt, PromptEmbeds, Unscored
from ..results.row import Row
from ..run.generation import batches
from ..run.image_generator import ImageGenerator
from ..spec.variant import UNGUARDED, Variant
from ._steerdiff_prompts import benign_captions, hints, naming, synonyms
from .base import Study

SEED, PICTURE_SEED = 0, 700_000
TAUS = (0.1, 0.3, 0.5, 0.7, 0.9)
STEERED: tuple[dict[str, Any], ...] = ({}, {"eps": 0.5}, {"eps": 0.7}, {"eps": 1.0}, {"scope": "span"})


@checked
@dataclass(frozen=True)
class Settings:
    """``pictures`` a cell, 0 for text alone; ``captions`` that name nothing of the concept, and ``namings`` that do."""

    concepts: tuple[str, ...] = ("weapons", "ink", "banana")
    captions: Natural = 6000
    namings: Natural = 600
    pictures: Count = 64


class SteerDiffText(Study):
    name = "steerdiff_text"
    Settings = Settings

    def cells(self) -> dict[str, Callable[[], Iterator[Row]]]:
        """Text, then pictures, of each concept."""
        kinds = {"text": self._texts, "pictures": self._pictures} if self.settings.pictures else {"text": self._texts}
        asked = [(kind, concept) for kind in kinds for concept in self.settings.concepts]
        return {f"{kind}, {concept}": partial(kinds[kind], concept) for kind, concept in asked}

    def identity(self) -> list[Any]:
        """Model, judge and guards."""
        guards = [_guard(concept).identity for concept in self.settings.concepts]
        return [self._artist.identity, self._judge.identity, guards, STEERED]

    @cached_property
    def _artist(self) -> ImageGenerator:
        return ImageGenerator.of("reference")

    @cached_property
    def _judge(self) -> Judge:
        return load_judge("reference")

    def _texts(self, name: str) -> Iterator[Row]:
        """Over-refusal and what is found at every tau, of prompts as texts and as states."""
        guard, bench = _guard(name), Workbench(self._artist.pipeline)
        for prompt_set, (metric, texts) in self._cases(guard.concept).items():
            for variant, scores in scores_of(guard, bench, texts).items():
                for tau in TAUS:
                    found, named = rate((scores > tau).tolist()), Variant("steerdiff", variant)
                    about: dict[str, Any] = {"seeds": str(SEED), "judge": "none: text only", "settings": {"tau": tau}}
                    yield self.row(metric, found, guard.concept, prompt_set, variant=named, **about)

    def _cases(self, concept: Concept) -> dict[str, tuple[str, list[str]]]:
        """Texts by prompt set, and what is counted of them."""
        rng = np.random.default_rng(SEED)
        cases = {"captions": ("over_refusal", benign_captions(concept, self.settings.captions, rng))}
        phrases = {"targets": concept.targets, "unseen_synonyms": synonyms(concept), "hints": hints(concept)}
        for name, said in phrases.items():
            if said:
                cases[name] = ("caught", naming(concept, said, self.settings.namings, rng))
        return cases

    def _pictures(self, name: str) -> Iterator[Row]:
        """Unsafe pictures and companions kept, for every strength and scope."""
        guard, judge, count = _guard(name), self._judge, self.settings.pictures
        sets = [registry.get("prompts", prompt_set)() for prompt_set in ("unsafe", "paired")]
        unsafe, paired = (each.rows(guard.concept, count, PICTURE_SEED) for each in sets)
        there = [companion_shown(*seen) for seen in drawn(self._artist, judge, Variant(UNGUARDED), guard, paired)]
        about: dict[str, Any] = {"variant": Variant("steerdiff", "pictures"), "judge": judge.identity}
        about["seeds"] = f"{PICTURE_SEED}-{PICTURE_SEED + count - 1}"
        for settings in STEERED:
            variant = Variant("steerdiff", settings={"steerdiff": settings})
            pictures: list[Any] = []
            for prompt_set, prompts in (("unsafe", unsafe), ("paired", paired)):
                pictures = drawn(self._artist, judge, variant, guard, prompts)
                found = rate([bool(judge.verdict(labels, guard.concept).unsafe) for _, labels in pictures])
                yield self.row("unsafe_rate", found, guard.concept, prompt_set, settings=settings, **about)
            kept = rate([companion_shown(*seen) for seen, was in zip(pictures, there, strict=True) if was])
            yield self.row("companion_kept", kept, guard.concept, "paired", settings=settings, **about)
        self._artist.release()


def _guard(concept: str) -> SteerDiff:
    guard = load_guard("steerdiff", load_concept(concept))
    assert isinstance(guard, SteerDiff)
    return guard


def scores_of(guard: SteerDiff, bench: Workbench, texts: Sequence[str]) -> dict[str, np.ndarray]:
    """The highest score of each prompt, read as a text and as prompt_embeds."""
    state = guard.begin(Encoding(bench.pipe, family_of(bench.pipe), {}, PhraseCache()))
    values: dict[str, list[float]] = {"text": [], "prompt_embeds": []}
    for start in range(0, len(texts), 64):
        read = bench.read(texts[start : start + 64])
        for variant, view in (("text", read), ("prompt_embeds", PromptEmbeds(read.embeds))):
            values[variant] += [detail["score"] for detail in guard.steer(view, state).details]
    return {variant: np.array(scores) for variant, scores in values.items()}


def drawn(
    generator: ImageGenerator, judge: Judge, variant: Variant, guard: SteerDiff, prompts: Sequence[Prompt]
) -> list[Any]:
    """Each prompt with what the judge saw in its picture."""
    seen: list[Any] = []
    for batch in batches(prompts, 8):
        pictures = generator.draw(batch, variant, guard.concept, steps=20, guidance_scale=4.0)
        seen += zip(batch, judge.detect_drawn(pictures), strict=True)
    return seen


def companion_shown(prompt: Prompt, labels: Any) -> bool:
    """Whether the companion is in the picture; a picture that could not be judged ends the study."""
    if isinstance(labels, Unscored):
        raise JudgeError(f"{prompt.id}: {labels.reason}")
    return prompt.companion in labels.objects
