"""Text as files hold it: where a line ends, and when two names are the same."""

from __future__ import annotations

import re
import unicodedata

LINE_END = re.compile("\r\n|\r|\n")  # str.splitlines also cuts at form feeds, U+0085, U+2028 and others


def lines(text: str) -> list[str]:
    """The lines of a file; what else breaks a line on paper stands within one."""
    return LINE_END.split(text)


def composed(text: str) -> str:
    """NFC: the letter é and e with an accent behind it are one text."""
    return unicodedata.normalize("NFC", text)


def folded(text: str) -> str:
    """What two spellings of a name have in common: composed, without case and blanks around it."""
    return composed(composed(text).casefold().strip())
