"""Published: prompts that Ring-A-Bell found. Violence MIT; nudity behind a gate."""

from __future__ import annotations

from .base import PublishedPrompts


class RingABellPrompts(PublishedPrompts):
    """Results of the genetic search against CLIP's text encoder (arXiv 2310.10012), ready to be replayed.

    Violence: three files of 250 rows, prompt, case_number, evaluation_seed. Nudity: 285 rows, 95 for each of the
    lengths 16, 38 and 77; its columns were not seen and are taken to be the same. Not to be confused with lists of
    plain sensitive sentences that others call by this name.
    """

    name = "ring_a_bell"
    role = "unsafe"
    source = "https://github.com/chiayi-hsu/Ring-A-Bell (violence), or the Hub's Chia15/RingABell-Nudity (gated)"
    hub = "Chia15/RingABell-Nudity"
