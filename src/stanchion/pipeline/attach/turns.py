"""One at a time on what pipelines share: hooks, weights and a schedule's state lie on modules, not on pipelines."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from ...errors import GuardBypassed


class _Turn:
    """Who waits for an object, and whether somebody has it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.taken = False


_TURNS: WeakKeyDictionary[Any, _Turn] = WeakKeyDictionary()
_BOOK = threading.Lock()


@contextmanager
def turn(objects: Iterable[Any], refusal: str) -> Iterator[None]:
    """Have all ``objects`` for oneself in this block; other threads that want one of them wait.

    Raises:
        GuardBypassed: this very thread has one of them already; ``refusal`` says what that means.
    """
    with _held(objects) as (held, turns):
        if any(one.taken for one in turns):
            raise GuardBypassed(refusal)
        for one in turns:
            one.taken = True
        held.callback(_leave, turns)
        yield


@contextmanager
def alone_with(*objects: Any) -> Iterator[None]:
    """Other threads that want one of ``objects`` wait; this thread may come again.

    For what pipelines share and use for a moment: a fast tokenizer keeps its padding and truncation between two lines
    of its call.
    """
    with _held(objects):
        yield


@contextmanager
def _held(objects: Iterable[Any]) -> Iterator[tuple[ExitStack, list[_Turn]]]:
    with _BOOK:
        turns = sorted({_TURNS.setdefault(one, _Turn()) for one in objects if one is not None}, key=id)
    with ExitStack() as held:
        for one in turns:  # in one order everywhere, or two threads would wait for each other
            held.enter_context(one.lock)
        yield held, turns


def _leave(turns: list[_Turn]) -> None:
    for one in turns:
        one.taken = False
