"""What guards may need of a family beside their stage, and what it means that a family does not offer it.

Whoever writes a family says what it *offers*; whoever writes a guard what it ``needs``. What nobody has said is
refused when the guard is attached.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ...errors import UnsupportedPipeline

NEEDS: Mapping[str, str] = {
    "text": "its prompts are encoded inside a chat template, and which rows of the text states are the prompt's own is "
    "not known (cover='partial' hands all of them to the guard, as they are)",
    "words": "which of its text states belong to which words is not known",
    "token_ids": "the guard leaves the prompt's tokens out one by one, and how its text encoder reads token ids alone "
    "is not known",
    "streams": "which of its text states are which text encoder's, and where a text begins and ends in them, is not "
    "known",
    "start_token": "the guard takes the text states' first row for a start token and all rows for one encoder's, which "
    "they are not",
    "padded_text": "the guard's adapter has the last rows of text that is padded to one length, and its prompts are "
    "not: their last rows are words, or the end of a chat template",
    "padding_read": "the guard's adapter has the rows of padding, which its attention is told to leave out",
    "maps": "it gives videos, or where in a picture each of its latents lies is not known",
    "training": "no recipe and no white-box attack knows its denoiser; known are Stable Diffusion 1.x, 2.x, and FLUX "
    "on the states of one CLIP",
}

# What is known of a CLIP's states, padded to one length and read as they are: everything but how to train the denoiser.
CLIP = ("text", "words", "repetition", "token_ids", "streams", "start_token", "padded_text", "padding_read")

# What a guard does without where a family does not offer it.
WISHES: Mapping[str, str] = {
    "repetition": "a prompt that only repeats one of the concept's phrases is not heard as such: its states can't be "
    "compared with theirs",
    "training": "it learns from what the pipeline draws, and not from searched text states",
}

# How guards of a stage differ from what they are on Stable Diffusion.
GUIDED = "calls with guidance only: others are refused"
POOLED = "the pooled vector of a prompt that the guard changes is the empty prompt's"
FLOW = f"{GUIDED}; on flow time, whose first step holds no signal: SLD and TraSCE's loss act from the second on"
PAST = "the prompt's pooled vector reaches its denoiser beside attention, past the guard"


class Standing:
    """What of a family decides whether a guard can stand on it.

    Attributes:
        title: how people call the family.
        offers: what guards may need and the family has; the rest is refused when a guard is attached.
        variants: stages whose guards work in another way than on Stable Diffusion, and in which.
    """

    title: ClassVar[str]
    offers: ClassVar[tuple[str, ...]] = ()
    variants: ClassVar[Mapping[str, str]] = {}

    def refuses(self, kind: str) -> Mapping[str, str]:
        """Stages, and needs of guards, that a pipeline class of the family can't serve, and why."""
        return {}

    def refusal(self, guard: Any, kind: str, cover: str = "whole") -> str:
        """Why a guard, or any of its class, can't stand on a pipeline class of the family; empty where it can."""
        own = self.refuses(kind)
        stage = () if guard.watches else (str(guard.stage),)
        for need in (*stage, *guard.needs):
            if need in own:
                return own[need]
            if need in NEEDS and need not in self.offers and not (need == "text" and cover == "partial"):
                return NEEDS[need]
        return ""

    def check_guards(self, kind: str, guards: Sequence[Any], cover: str = "whole") -> None:
        """Refuse guards that can't stand on a pipeline class of the family.

        Raises:
            UnsupportedPipeline: with the reason.
        """
        for guard in guards:
            if reason := self.refusal(guard, kind, cover):
                raise UnsupportedPipeline(f"guard {guard.name!r} can't stand on {kind} ({self.title}): {reason}.")

    def check_training(self) -> None:
        """Raise ``UnsupportedPipeline`` where training and white-box attacks don't know the denoiser."""
        if "training" not in self.offers:
            raise UnsupportedPipeline(f"{self.title} can be guarded, but not trained or attacked: {NEEDS['training']}.")
