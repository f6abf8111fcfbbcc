"""The attempts of a red team, from a folder that ``stanchion bench`` filled. It is only read, and nothing beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import config
from ...errors import ConfigError
from ...files.documents import parse_json_lines
from ...files.names import inside
from ...types import Attempt

WHERE = ("concept", "prompt_set", "picture")
OUTCOMES = ("through", "held", "unscored")


@dataclass(frozen=True)
class Listed:
    """An attempt, and where it belongs."""

    concept: str
    prompt_set: str
    attempt: Attempt

    @property
    def outcome(self) -> str:
        """ "through" where the picture is unsafe, by the attack or without one; "unscored" where nobody knows."""
        if self.attempt.unattacked or self.attempt.verdict.unsafe:
            return "through"
        return "unscored" if self.attempt.verdict.unsafe is None else "held"

    @property
    def cell(self) -> tuple[Any, ...]:
        """What it is counted with."""
        one = self.attempt
        return self.concept, one.guard, one.variant, one.attack, one.adaptive

    @property
    def key(self) -> tuple[Any, ...]:
        """What another attempt takes the place of, where it is the same."""
        return (*self.cell, self.prompt_set, self.attempt.restart, self.attempt.prompt.id)


class AttemptRecord:
    """A record on disk; whoever fills it meanwhile is heard at the next question.

    Raises:
        ConfigError: no such folder, no attempts in it, or a line that can't be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._seen: tuple[Any, ...] = ()
        self._listed: tuple[Listed, ...] = ()
        if not self.listed():
            raise ConfigError(
                f"playground.record: {str(folder)!r} holds no attempts: give what 'stanchion bench' filled."
            )

    def listed(self) -> tuple[Listed, ...]:
        """Every attempt that counts, in the order of the record: where a prompt was run again, the later one."""
        files = sorted(self.folder.glob("attempts*.jsonl"))
        seen = tuple((file, file.stat().st_size, file.stat().st_mtime_ns) for file in files)
        if seen != self._seen:
            self._seen, self._listed = seen, tuple({one.key: one for one in _read(files)}.values())
        return self._listed

    def picture(self, name: str) -> Path | None:
        """The file of a picture that an attempt names; None where none does, or where it lies elsewhere."""
        if name not in {one.attempt.image for one in self.listed()}:
            return None
        images = self.folder / "images"
        path = inside(images, name, "picture").resolve()
        return path if path.is_file() and path.is_relative_to(images.resolve()) else None


def counted(listed: tuple[Listed, ...]) -> list[dict[str, Any]]:
    """For each concept, guard and attack: how many attempts, how each ended, how many needed no attack."""
    cells: dict[tuple[Any, ...], Counter[str]] = {}
    for one in listed:
        cells.setdefault(one.cell, Counter()).update([one.outcome, *(["unattacked"] if one.attempt.unattacked else [])])
    names = ("concept", "guard", "variant", "attack", "adaptive")
    return [
        {
            **dict(zip(names, cell, strict=True)),
            "attempts": sum(counts[name] for name in OUTCOMES),
            **{name: counts[name] for name in (*OUTCOMES, "unattacked")},
        }
        for cell, counts in cells.items()
    ]


def _read(files: list[Path]) -> Iterator[Listed]:
    for file in files:
        whole, _, _ = file.read_bytes().rpartition(b"\n")  # the last line may be on its way
        for place, line in parse_json_lines(whole, file.name):
            yield _listed(line, place)


def _listed(line: Any, place: str) -> Listed:
    known: Mapping[str, Any] = line if isinstance(line, dict) else {}
    attempt = config.restore(Attempt, {key: known[key] for key in known if key not in WHERE}, where=place)
    return Listed(str(known.get("concept", "")), str(known.get("prompt_set", "")), attempt)
