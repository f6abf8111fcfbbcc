"""What guards may need of a family beside their stage, and what it means that a family does not offer it.

Whoever writes a family says what it *offers*; whoever writes a guard what it ``needs``. What nobody has said is
refused when the guard is attached.
"""

from __future__ import annotations

from collections.abc import Mapping

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
    "training": "no recipe and no white-box attack knows its denoiser; known are Stable Diffusion 1.x, 2.x, and FLUX "
    "on the states of one CLIP",
}

# What is known of a CLIP's states, padded to one length and read as they are: everything but how to train the denoiser.
CLIP = ("text", "words", "repetition", "token_ids", "streams", "start_token", "padded_text", "padding_read")

# What a guard does without where a family does not offer it.
WISHES: Mapping[str, str] = {
    "repetition": "a prompt that only repeats one of the concept's phrases is not heard as such: its states can't be "
    "compared with theirs",
}

# How guards of a stage differ from what they are on Stable Diffusion.
GUIDED = "calls with guidance only: others are refused"
POOLED = "the pooled vector of a prompt that the guard changes is the empty prompt's"
FLOW = f"{GUIDED}; on flow time, whose first step holds no signal: SLD and TraSCE's loss act from the second on"
PAST = "the prompt's pooled vector reaches its denoiser beside attention, past the guard"
