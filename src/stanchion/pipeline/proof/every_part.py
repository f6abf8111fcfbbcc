"""A walk through modules that is taken in every call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import nn


def every_part(modules: Iterable[nn.Module]) -> Iterator[nn.Module]:
    """Each once, in the order of ``named_modules``, which would build every path on the way."""
    waiting, seen = list(modules)[::-1], set[int]()
    while waiting:
        part = waiting.pop()
        if id(part) not in seen:
            seen.add(id(part))
            yield part
            if part._modules:
                waiting += [child for child in reversed(part._modules.values()) if child is not None]
