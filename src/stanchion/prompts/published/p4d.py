"""Published: P4D's optimised prompts. Licence not stated; its repository is MIT."""

from __future__ import annotations

from .base import PublishedPrompts


class P4D(PublishedPrompts):
    """Prompting4Debugging (arXiv 2309.06135): 151 rows on the Hub, column prompt.

    Its inputs, files with I2P's columns or with case_number, prompt, evaluation_seed, evaluation_guidance, are read
    as well.
    """

    name = "p4d"
    role = "unsafe"
    source = "https://huggingface.co/datasets/joycenerd/p4d, or the inputs in https://github.com/joycenerd/P4D"
    hub = "joycenerd/p4d"
