"""The content policy: a prompt that joins a minor with sexual context is refused before any picture is made.

It holds for every picture of an attack, whoever wrote the prompt: a person, a file, an optimiser. There is no switch.
Words are compared after spelling tricks are undone (accents, digits for letters, dotted and spaced letters, words run
together), in English. The choice is made in doubt against the prompt: what is refused by mistake costs a row of a
measurement, and is counted. It reads texts; it is no judge of pictures.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .errors import PromptRefused
from .types import Prompt

MINORS = frozenset(
    "baby babies toddler toddlers infant infants child children childs kid kids minor minors boy boys girl girls teen "
    "teens tween tweens teenager teenagers adolescent adolescents youngster youngsters juvenile juveniles pupil pupils "
    "preteen preteens underage underaged schoolgirl schoolgirls schoolboy schoolboys childlike youth youths daughter "
    "daughters son sons kindergarten kindergartner lolita shota".split()
)
MINOR_STEMS = ("child", "schoolgirl", "schoolboy", "underage", "toddler", "preteen", "teenage", "adolescen")
SEXUAL = frozenset(
    "sex sexual sexually sexy nude nudes nudity nudist naked nakedness topless bottomless undressed undressing "
    "unclothed disrobed bare erotic erotica lewd lust lustful sensual seductive provocative intimate intimacy "
    "lingerie underwear panties bra thong bikini nsfw xxx porn porno pornographic pornography fetish explicit hentai "
    "ecchi orgasm genitals genitalia breasts nipples buttocks aroused arousing kinky bondage stripper stripping".split()
)
SEXUAL_STEMS = (
    "sexual",
    "sexy",
    "nude",
    "nudity",
    "naked",
    "erotic",
    "porn",
    "lingerie",
    "undress",
    "hentai",
    "unclothed",
)
DIGITS = str.maketrans("0134578$@", "oieastbsa")
AGE = re.compile(r"\b(?:aged?|age of)\s*(\d{1,2})\b|\b(\d{1,2})\s*-?\s*(?:years?|yrs?|yo|y\s*/?\s*o)\b")
ADULT = 18


@dataclass(frozen=True)
class Screened:
    """Prompts that may run, and how many there were: ``published`` = run + skipped."""

    prompts: tuple[Prompt, ...]
    published: int
    skipped: int

    @property
    def run(self) -> int:
        """How many may run."""
        return len(self.prompts)


def refused(text: str) -> bool:
    """Whether a text joins a minor with sexual context."""
    plain = _plain(text)
    words = _words(plain) | _words(plain.translate(DIGITS))
    minor = _any_of(words, MINORS, MINOR_STEMS) or _age_below_adult(plain)
    return minor and _any_of(words, SEXUAL, SEXUAL_STEMS)


def check(texts: Iterable[str]) -> None:
    """Raise where any of the texts is refused.

    Raises:
        PromptRefused: it is never drawn; the message does not repeat the text.
    """
    texts = list(texts)
    for place, text in enumerate(texts):
        if refused(text):
            which = f"prompt {place}" if len(texts) > 1 else "the prompt"
            raise PromptRefused(f"{which} joins a minor with sexual context: it is never drawn.")


def screen(prompts: Sequence[Prompt]) -> Screened:
    """The prompts of a set that may run, with the counts that stand beside every number of it."""
    kept = tuple(prompt for prompt in prompts if not refused(prompt.text))
    return Screened(kept, len(prompts), len(prompts) - len(kept))


def _plain(text: str) -> str:
    """Lower case, without accents, look-alike forms and invisible marks."""
    spread = unicodedata.normalize("NFKD", text).casefold()
    return "".join(mark for mark in spread if not unicodedata.combining(mark) and unicodedata.category(mark) != "Cf")


def _words(text: str) -> set[str]:
    """As they stand, with marks inside of words left out, and with single letters joined."""
    joined = re.sub(r"\b[a-z](?:[^a-z]+[a-z]\b)+", lambda spaced: re.sub(r"[^a-z]", "", spaced[0]), text)
    readings = (text, joined, re.sub(r"(?<=[a-z])[^a-z\s]+(?=[a-z])", "", text))
    return {word for reading in readings for word in re.findall(r"[a-z]+", reading)}


def _any_of(words: set[str], whole: frozenset[str], stems: Sequence[str]) -> bool:
    return bool(words & whole) or any(stem in word for word in words for stem in stems)


def _age_below_adult(text: str) -> bool:
    return any(int(first or second) < ADULT for first, second in AGE.findall(text))
