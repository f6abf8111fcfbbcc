"""What a prompt may be: seeds that every generator takes as they are, and text that every tokenizer reads."""

from __future__ import annotations

from .errors import ConfigError

LAST = 2**63 - 1


def check_seed(seed: int, where: str) -> None:
    """Raise for a seed that some generator would refuse, or take for another number.

    Args:
        where: what it is the seed of, for the message.

    Raises:
        ConfigError: it is no whole number from 0 to ``LAST``.
    """
    if not (isinstance(seed, int) and 0 <= seed <= LAST):
        raise ConfigError(f"{where}: the seed is {seed!r}; give a whole number from 0 to 2**63 - 1.")


def check_text(text: str) -> None:
    """Raise for what is no Unicode: bytes of a command line that were no UTF-8, half of a pair in JSON.

    Raises:
        ConfigError: it is none.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"prompt {text!r} is no Unicode text ({error.reason}); no tokenizer reads it.") from error
