"""When does a guard act? Always, or where a prompt is near the concept: then a benign prompt loses and pays nothing.

Both scores compare distances, without training: to the nearest of the concept's target phrases, d_t, and to the nearest
of its anchor phrases, d_a. The score (d_a - d_t) / (d_a + d_t) is 1 at the concept, 0 half-way, and -1 at an anchor,
whatever the scale of what is compared. A guard of any stage may ask for either; ``Trigger`` is what a trajectory
guard asks step by step.

A third one needs training, and looks at the picture that comes of the prompt: the guard ``monitor``. Guards of the
stages that run while a picture is denoised may wait for it, with ``when="monitor"`` or ``"flagged_or_monitor"``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor

from ..concepts import Concept
from ..errors import UnsupportedPipeline
from ..pipeline.model.text_streams import apart, same
from ..types import Call, Condition, Flagged, PromptEmbeds, Step

When = Literal["always", "flagged", "monitor", "flagged_or_monitor"]

CONTEXTS = ("{}", "a photo of {}", "a nice picture with {}")  # a word's state depends on what stands before it


def anchors_of(concept: Concept) -> list[str]:
    """The concept's anchor phrases, and the empty prompt."""
    return [*dict.fromkeys(phrase for phrase in concept.anchors if phrase.strip()), ""]


class ReadsTexts(Protocol):
    """Whoever encodes texts: a guarded call, or a training."""

    def read(self, texts: Sequence[str]) -> PromptEmbeds: ...


class TextScore:
    """Compares text states; costs an encoding of the phrases, and no prediction.

    Every state of the prompt is compared with those of the targets' last words and with all of the anchors', in a few
    contexts, each text encoder's with its own. The highest score counts, so a concept that is named among other things
    is found. Start tokens are left out: theirs is the same for every prompt. The threshold was fitted to CLIP.

    Raises:
        UnsupportedPipeline: the call's text window is so short that it cuts a phrase off; nothing would be near it.
    """

    threshold: ClassVar[float] = 0.4

    def __init__(self, reader: ReadsTexts, concept: Concept) -> None:
        anchors, targets = in_contexts(anchors_of(concept)), in_contexts(concept.targets)
        states = reader.read([*targets, *anchors])
        _check_whole(states, concept.targets)
        self._streams, count = states.streams, len(targets)
        self._known = [
            (last_words(view)[:count], view.embeds[count:, view.streams[0].first :].float().flatten(0, 1))
            for view in apart(states)
        ]

    def of(self, states: Tensor) -> Tensor:
        """(B,) scores of (B, L, D) text states."""
        scores = []
        for view, known in zip(apart(PromptEmbeds(states, streams=self._streams)), self._known, strict=True):
            own = view.embeds[:, view.streams[0].first :].float()
            targets, anchors = (others.to(own.device) for others in known)
            scores.append(nearness(distances(own, targets), distances(own, anchors)).amax(1))
        return torch.stack(scores).amax(0)

    def at(self, step: Step) -> Tensor:
        """(B,) scores of the step's prompts."""
        return self.of(step.prompt.embeds)


class NoiseScore:
    """Compares predictions at x_t in the first steps: what would be drawn, whatever the words.

    The extra predictions, one for each target and anchor, are made in these steps only, in one batch.
    """

    threshold: ClassVar[float] = 0.05

    def __init__(self, call: Call, concept: Concept) -> None:
        self._targets = _rows(call.encode(concept.targets))
        self._anchors = _rows(call.encode(anchors_of(concept)))

    def at(self, step: Step) -> Tensor:
        """(B,) scores of the step's prompts at its x_t."""
        outputs = step.predict(step.latents, step.prompt, *self._targets, *self._anchors)
        prompt, *others = (output.float().flatten(1) for output in outputs)
        away = torch.stack([(prompt - other).norm(dim=1) for other in others], dim=1)
        count = len(self._targets)
        return nearness(away[:, :count].amin(1), away[:, count:].amin(1))


@dataclass
class Trigger:
    """A score over the steps of one call. What it flagged stays flagged; a prompt that changes is looked at anew.

    Attributes:
        score: which.
        threshold: score from which on a prompt is flagged.
        looks: in how many steps it looks at the same prompt; the highest score counts.
    """

    score: TextScore | NoiseScore
    threshold: float
    looks: int = 1
    _seen: Tensor | None = None
    _looked: int = 0
    _best: Tensor | None = None

    def at(self, step: Step) -> Flagged:
        """Which of the step's pictures to act on."""
        if self._seen is None or not same(self._seen, step.prompt.embeds):
            self._seen, self._looked = step.prompt.embeds, 0
        if self._best is None or self._looked < self.looks:
            self._looked += 1
            score = self.score.at(step)
            self._best = score if self._best is None else torch.maximum(self._best, score)
        return flagged(self._best, self.threshold)


def flagged(scores: Tensor, threshold: float) -> Flagged:
    """Scores (B,) held against a threshold; one that is no number flags as well."""
    return Flagged(~(scores.detach() < threshold), scores)


def reads_prompt(when: str) -> bool:
    """Whether a guard asks a score whether the prompt is near its concept."""
    return when.startswith("flagged")


def tripped(call: Call, concept: Concept, pictures: Tensor) -> Flagged:
    """On which pictures the concept's monitor has tripped so far in this call; ``pictures`` has a row for each."""
    if (seen := call.seen.get(concept.name)) is not None:
        return seen
    nothing = torch.zeros(len(pictures), device=pictures.device)
    return Flagged(nothing.bool(), nothing)


def either(found: Sequence[Flagged]) -> Flagged:
    """What any of them flags. Their scores are added: whoever lowers one of them lowers that."""
    first, *others = found
    for other in others:
        first = Flagged(first.acted | other.acted, first.scores + other.scores)
    return first


def nearness(targets: Tensor, anchors: Tensor) -> Tensor:
    """(d_a - d_t) / (d_a + d_t), in [-1, 1]."""
    return (anchors - targets) / (anchors + targets).clamp_min(torch.finfo(torch.float32).tiny)


def distances(states: Tensor, others: Tensor) -> Tensor:
    """(B, L, D) states to (B, L): how far the nearest of (K, D) others is."""
    return torch.cdist(states, others.expand(len(states), -1, -1)).amin(-1)


def in_contexts(phrases: tuple[str, ...] | list[str]) -> list[str]:
    """Each phrase in each context; the empty one stands alone."""
    return [context.format(phrase) for phrase in phrases for context in (CONTEXTS if phrase else CONTEXTS[:1])]


def _check_whole(states: PromptEmbeds, phrases: Sequence[str]) -> None:
    """Raise unless each phrase has as many more tokens in a context as that has words: the window has room for both."""
    assert states.content is not None
    sizes = states.content.sum(1)[: len(phrases) * len(CONTEXTS)].unflatten(0, (-1, len(CONTEXTS))).cpu()
    words = torch.tensor([len(context.split()) - 1 for context in CONTEXTS])
    cut = (sizes - sizes[:, :1] < words).any(1)
    if bool(cut.any()):
        phrase, rows = phrases[int(cut.nonzero()[0])], states.embeds.shape[1]
        raise UnsupportedPipeline(
            f"this call reads {rows} rows of text, too few for {CONTEXTS[-1].format(phrase)!r}, and prompts are "
            "compared with such phrases: give a longer max_sequence_length."
        )


def last_words(phrases: PromptEmbeds) -> Tensor:
    """(K, D) float32 states of each phrase's last own token; of what stands before it where it has none."""
    assert phrases.content is not None
    rows = torch.arange(phrases.content.shape[1], device=phrases.content.device)
    before = max(phrases.streams[0].first - 1, 0)
    places = torch.where(phrases.content.any(1), (phrases.content * rows).amax(1), before)
    return phrases.embeds[torch.arange(len(places), device=places.device), places].float()


def _rows(condition: Condition) -> list[Condition]:
    """One condition a text, each with what stands beside its states: a vector, a mask."""
    extra = condition.extra
    return [
        Condition(row[None], {name: value if value is None else value[at : at + 1] for name, value in extra.items()})
        for at, row in enumerate(condition.embeds)
    ]
