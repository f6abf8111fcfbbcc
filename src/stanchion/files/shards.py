"""One of N parts of some work, for one of N processes."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

from ..errors import ConfigError


@dataclass(frozen=True)
class Shard:
    """The ``number``-th of ``count`` parts, from 1 on; the whole where nothing is said."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str | None) -> Shard:
        """Of "I/N".

        Raises:
            ConfigError: it is not of that form, or not 1 <= I <= N.
        """
        number, _, count = ("1/1" if text is None else text).partition("/")
        if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
            raise ConfigError(f"--shard is {text!r}; give I/N with 1 <= I <= N, as 1/2.")
        return cls(int(number), int(count))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def whole(self) -> bool:
        """Whether it is all there is."""
        return self.count == 1

    def holds(self, place: int) -> bool:
        """Whether it has the ``place``-th piece of the work, from 0 on."""
        return place % self.count == self.number - 1

    def apart(self, other: Shard) -> bool:
        """Whether no piece is in both."""
        return (self.number - other.number) % gcd(self.count, other.count) != 0

    def split(self, parts: int) -> list[Shard]:
        """The same in ``parts`` shards."""
        return [Shard(self.number + self.count * part, self.count * parts) for part in range(parts)]


ALL = Shard()
