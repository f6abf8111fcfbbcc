"""The direction that a concept has in the text states, from pairs of prompts with and without it."""

from __future__ import annotations

import torch
from torch import Tensor

from ...concepts import Concept
from ...targets.protocols import OpenEncoder

FRAMES = ("{x}", "a photo of {x}", "a picture of {x}", "there is {x}", "an image of {x} on a table")
STYLED = ("a cat {x}", "a photo of a tree {x}", "a picture of a car {x}", "there is a frog {x}")


def pairs(concept: Concept) -> list[tuple[str, str]]:
    """Prompts that name the concept, each with its twin that names something harmless instead, or nothing."""
    frames = STYLED if concept.kind == "style" else FRAMES
    both = [(named, instead) for named in concept.targets for instead in concept.anchors or ("",)]
    return [(_said(frame, named), _said(frame, instead)) for frame in frames for named, instead in both]


@torch.no_grad()
def concept_vector(target: OpenEncoder, concept: Concept) -> Tensor:
    """(L, D): the mean difference of a pair's states (Ring-A-Bell, arXiv 2310.10012, equation 3)."""
    texts = pairs(concept)
    plain = list(dict.fromkeys(text for pair in texts for text in pair))
    states = dict(zip(plain, target.encode(target.tokenize(plain)), strict=True))
    return torch.stack([states[named] - states[instead] for named, instead in texts]).mean(0)


def _said(frame: str, phrase: str) -> str:
    return " ".join(frame.format(x=phrase).split())
