"""Is a prompt anywhere near the concept? Cheap answers, from which a guard skips its work on benign prompts.

Both gates score a prompt relative to the concept's own phrases, without training: 1 is the concept itself, 0 is the
anchor that looks most like it. One threshold in [0, 1] therefore means the same for both, and for every concept.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..concepts import Concept
from ..types import Call, Condition, PromptEmbeds, Step

HIGHEST_FLOOR = 0.8


def anchors_of(concept: Concept) -> list[str]:
    """The concept's anchor phrases, and the empty prompt."""
    return [*dict.fromkeys(phrase for phrase in concept.anchors if phrase.strip()), ""]


class TextGate:
    """Compares text states; costs no prediction.

    Two comparisons, the larger counts: any state of the prompt with the last word of each target phrase (a thing that
    is named among others), and the prompt's last state, which has read all of it, with each target's (a thing that is
    described). Cosines are taken around the anchors' mean, for text states share a large common part.
    """

    def __init__(self, call: Call, concept: Concept) -> None:
        targets, anchors = call.read(list(concept.targets)), call.read(anchors_of(concept))
        self._words, self._word_centre = last_words(targets), last_words(anchors).mean(0)
        self._whole, self._whole_centre = targets.embeds[:, -1].float(), anchors.embeds[:, -1].float().mean(0)
        self._floors = tuple(scores.max() for scores in self._cosines(anchors.embeds))

    def score(self, step: Step) -> Tensor:
        """(B,) relative scores of the step's prompts."""
        pairs = zip(self._cosines(step.prompt.embeds), self._floors, strict=True)
        return torch.stack([relative(scores, floor) for scores, floor in pairs]).amax(0)

    def _cosines(self, embeds: Tensor) -> tuple[Tensor, Tensor]:
        states = embeds[:, 1:].float()  # the start token's state is the same for every prompt
        words = cosine(states - self._word_centre, self._words - self._word_centre).amax((1, 2))
        whole = cosine(states[:, -1] - self._whole_centre, self._whole - self._whole_centre).amax(1)
        return words, whole


class NoiseGate:
    """Compares predictions in the first steps: what would be drawn, whatever the words.

    How much of the way from the anchors' mean prediction m to a target's c does the prompt's p go,
    <p - m, c - m> / |c - m|^2? The extra predictions are made in these steps only, in one batch.
    """

    def __init__(self, call: Call, concept: Concept) -> None:
        self._targets = _rows(call.encode(list(concept.targets)))
        self._anchors = _rows(call.encode(anchors_of(concept)))

    def score(self, step: Step) -> Tensor:
        """(B,) relative scores at this step's x_t."""
        outputs = step.predict(step.latents, step.prompt, *self._targets, *self._anchors)
        prompt, *others = (output.float().flatten(1) for output in outputs)
        targets = torch.stack(others[: len(self._targets)], dim=1)
        anchors = torch.stack(others[len(self._targets) :], dim=1)
        centre = anchors.mean(1, keepdim=True)
        ways = targets - centre
        reach = ways.square().sum(-1).clamp_min(torch.finfo(torch.float32).tiny)
        shares = torch.einsum("bkn,bjn->bkj", ways, torch.cat([prompt[:, None], anchors], dim=1) - centre)
        shares = (shares / reach[..., None]).amax(1)
        return relative(shares[:, 0], shares[:, 1:].amax(1))


def relative(scores: Tensor, floor: Tensor) -> Tensor:
    """Scores on the scale on which ``floor`` is 0 and the concept itself, 1, is 1.

    Where the anchors come close to the concept, or go beyond it, they say nothing: then the gate errs to open.
    """
    floor = floor.clamp_max(HIGHEST_FLOOR)
    return (scores - floor) / (1 - floor)


def cosine(states: Tensor, targets: Tensor) -> Tensor:
    """(…, D) and (K, D) to (…, K)."""
    return F.normalize(states, dim=-1) @ F.normalize(targets, dim=-1).T


def last_words(phrases: PromptEmbeds) -> Tensor:
    """(K, D) float32 states of each phrase's last own token; of the start token where it has none."""
    assert phrases.content is not None
    places = phrases.content.sum(1)
    return phrases.embeds[torch.arange(len(places)), places].float()


def _rows(condition: Condition) -> list[Condition]:
    return [Condition(row[None]) for row in condition.embeds]
