"""Published: 6,432 risky prompts of T2I-RiskyPrompt, with their kinds. No licence seen."""

from __future__ import annotations

from .base import PublishedPrompts


class T2IRiskyPrompt(PublishedPrompts):
    """T2I-RiskyPrompt (arXiv 2510.22300): one JSON list of prompt and label.

    A label holds, by "primary——sub" category, the reasons; a row's cell has the categories, so that
    ``where: {label: …}`` chooses one. So its README describes a record, in an example of its own; the file itself was
    announced there, and was not seen.
    """

    name = "t2i_risky_prompt"
    role = "unsafe"
    source = "T2I-RiskyPrompt.json of https://github.com/datar001/T2I-RiskyPrompt"
