"""Files as they come to be wrong: seeded damage of bytes, lines and values. The same seed gives the same file."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

Path = list[Any]  # keys and places that lead to a value

WRONG: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 3, 0.5, 10**30, -(10**400), 1e308, float("nan"), float("inf"), "", " ", "x", "3",
    "1e-3", "nan", "null", "../x", "/etc/passwd", "..", "a/b", "a+b", "a,b", "a:b", "a\0b", "a\nb", "a\u2028b",
    "\ud800",
    "Rene\u0301", "\u202e", "\ufeff", "x" * 5000, [], {}, [None], ["x"], [["x"]], {"x": 1}, {"": None}, [1, "x", None],
)  # fmt: skip
TEXTS = (
    b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xe9", b"\xed\xa0\x80", b"{", b"}", b"[", b"]", b'"', b",", b":", b"\n",
    b"\t", b"&a ", b"*a", b"!!str ", b"!!python/name:os.system ", b"<<: ", b"- ", b"? ", b"| ", b"%", b"#", b"---\n",
    b"...\n", b"NaN", b"-Infinity", b"1e999", b"0x_", b"\\ud800", b"\\U99999999", b"2020-99-99", b"1:30", b"[" * 3000,
    b"- " * 500,
)  # fmt: skip


class Mutator:
    """Damage, drawn from one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def raw(self, raw: bytes) -> bytes:
        """Bytes that were damaged once to three times."""
        for _ in range(self.random.randint(1, 3)):
            raw = self.random.choice((self._flip, self._cut, self._insert, self._repeat, self._swap_lines))(raw)
        return raw

    def values(self, values: Any) -> Any:
        """Plain values of which one to three are others, missing, more, or under another key."""
        values = copy.deepcopy(values)
        for _ in range(self.random.randint(1, 3)):
            where = self.random.choice([*places(values)])
            values = self._edit(values, where)
        return values

    def twice(self, text: str, keys: list[str]) -> str:
        """JSON text in which one of these keys is given a second time, just before it comes."""
        key = json.dumps(self.random.choice([key for key in keys if f"{json.dumps(key)}:" in text]))
        return text.replace(f"{key}:", f"{key}: {json.dumps(self.random.choice(WRONG[:8]))}, {key}:", 1)

    def _edit(self, values: Any, where: Path) -> Any:
        if not where:
            return self._wrong()
        parent = values
        for key in where[:-1]:
            parent = parent[key]
        key = where[-1]
        how: list[Callable[[], Any]] = [
            lambda: parent.__setitem__(key, self._wrong()),
            lambda: parent.__delitem__(key),
            lambda: parent.__setitem__(key, [copy.deepcopy(parent[key])]),
            lambda: parent.__setitem__(key, self._changed(parent[key])),
        ]
        if isinstance(parent, dict):
            how += [
                lambda: parent.__setitem__(f"{key}s", parent.pop(key)),
                lambda: parent.__setitem__("more", copy.deepcopy(parent[key])),
            ]
        self.random.choice(how)()
        return values

    def _wrong(self) -> Any:
        return copy.deepcopy(self.random.choice(WRONG))

    def _changed(self, value: Any) -> Any:
        """Something of the same type."""
        if isinstance(value, bool) or value is None:
            return not value
        if isinstance(value, int | float):
            return value + self.random.choice((-1, 1, 0.5, 1000))
        if isinstance(value, str):
            place = self.random.randint(0, len(value))
            return value[:place] + self.random.choice(("x", " ", "é", "-", "0", "")) + value[place + 1 :]
        if isinstance(value, list):
            return self.random.sample(value * 2, self.random.randint(0, 2 * len(value)))
        return dict(list(value.items())[1:])

    def _place(self, raw: bytes) -> int:
        return self.random.randrange(len(raw) + 1)

    def _flip(self, raw: bytes) -> bytes:
        if not raw:
            return raw
        place = self.random.randrange(len(raw))
        return raw[:place] + bytes([raw[place] ^ 1 << self.random.randrange(8)]) + raw[place + 1 :]

    def _cut(self, raw: bytes) -> bytes:
        start = self._place(raw)
        return raw[:start] + raw[start + self.random.choice((1, 5, 50, len(raw))) :]

    def _insert(self, raw: bytes) -> bytes:
        place = self._place(raw)
        return raw[:place] + self.random.choice(TEXTS) + raw[place:]

    def _repeat(self, raw: bytes) -> bytes:
        start = self._place(raw)
        part = raw[start : start + self.random.choice((1, 20, 200))]
        return raw[:start] + part + raw[start:]

    def _swap_lines(self, raw: bytes) -> bytes:
        lines = raw.split(b"\n")
        self.random.shuffle(lines) if len(lines) < 40 else lines.reverse()
        return b"\n".join(lines)


def places(values: Any, where: Path | None = None) -> Iterator[Path]:
    """The way to every value, the whole first."""
    where = where or []
    yield where
    items = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in items:
        yield from places(value, [*where, key])
