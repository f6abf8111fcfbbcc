"""Pictures that a key may ask for in a minute."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import Busy
from .policy import Key

MINUTE = 60.0


class Quota:
    """What each key asked for in the last minute. For one event loop."""

    def __init__(self) -> None:
        self._taken: dict[str, deque[tuple[float, int]]] = {}

    @contextmanager
    def taken(self, key: Key, pictures: int) -> Iterator[None]:
        """Count them, unless the block raises: what was not taken on costs nobody anything.

        Raises:
            Busy: that would be too many.
        """
        self._check(key, pictures)
        yield
        if key.name:
            self._taken[key.name].append((time.monotonic(), pictures))

    def _check(self, key: Key, pictures: int) -> None:
        if not key.name:  # anybody, where the policy names nobody
            return
        taken, now = self._taken.setdefault(key.name, deque()), time.monotonic()
        while taken and taken[0][0] <= now - MINUTE:
            taken.popleft()
        if sum(count for _, count in taken) + pictures > key.per_minute:
            wait = taken[0][0] + MINUTE - now if taken else MINUTE
            raise Busy(f"key {key.name!r} may ask for {key.per_minute} pictures a minute.", wait)
