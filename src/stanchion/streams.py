"""What each text encoder of a pipeline says of a prompt, and where among the text states."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TextStream:
    """Where one text encoder's states of a prompt stand among all of them: (B, rows, columns) of (B, L, D).

    Attributes:
        name: of the encoder and of how it reads: "t5" reads the padding, too, "t5_masked" does not, and "t5_zeroed" is
            that with zeros in the padding. Artefacts belong to it.
        rows, columns: half-open; None is the end.
        first: the row, counted from the stream's own, at which a text begins: 1 behind a start token.
        behind: rows that a template, or an end token, takes behind a text.
        causal: whether a state has read only what stands before it; else every one has read all of the prompt.
        normed: whether the denoiser norms each state before anything else, so that its length says nothing.
        tokenizer: the pipeline's attribute that holds it.
        bases: what an artefact's ``base`` calls the weights that make the states.
    """

    name: str = "text_encoder"
    rows: tuple[int, int | None] = (0, None)
    columns: tuple[int, int | None] = (0, None)
    first: int = 1
    behind: int = 1
    causal: bool = True
    normed: bool = False
    tokenizer: str = "tokenizer"
    bases: tuple[str, ...] = ("text_encoder",)
