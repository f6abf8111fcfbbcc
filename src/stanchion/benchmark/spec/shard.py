"""Several processes on one record: which part of the work is whose."""

from __future__ import annotations

from ...errors import ConfigError


def read_share(text: str | None) -> tuple[int, int]:
    """(I, N) of "I/N"; the whole where nothing is said.

    Raises:
        ConfigError: it is not of that form, or not 1 <= I <= N.
    """
    number, _, count = ("1/1" if text is None else text).partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise ConfigError(f"--share is {text!r}; give I/N with 1 <= I <= N, as 1/2.")
    return int(number), int(count)
