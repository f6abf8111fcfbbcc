"""Who writes into a folder: two processes that did the same work there would do all of it twice.

A writer holds a lock of the system (``flock``) on a file ``.writer-…`` of its own, in which it says who it is. A
process that ends, however it ends, holds none: what it left behind is no writer, and the next one takes it away.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from ..errors import ConfigError
from .shards import ALL, Shard

PREFIX = ".writer-"


@dataclass(frozen=True)
class Part:
    """What of a folder's work a process does: all of it, that of one concept, a shard, or both."""

    concept: str = ""
    shard: Shard = ALL

    def __str__(self) -> str:
        shard = "" if self.shard.whole else f"shard {self.shard}"
        return ", ".join(filter(None, (self.concept, shard))) or "all of it"

    def apart(self, other: Part) -> bool:
        """Whether nothing is in both."""
        if self.concept != other.concept:
            return bool(self.concept and other.concept)
        return self.shard.apart(other.shard)


WHOLE = Part()


@dataclass(frozen=True)
class Writer:
    """A process and its part."""

    pid: int
    part: Part


@contextmanager
def writing(folder: Path, part: Part = WHOLE, *, for_whom: int | None = None) -> Iterator[None]:
    """Write ``part`` into ``folder``, which is made where it is missing, and let nobody else do so meanwhile.

    A process that was started by one of the writers does a part of what that one does.

    Args:
        for_whom: the writer of whose work this is a part, where another one started this process.

    Raises:
        ConfigError: a process that is at work there does some of the same; the message has its number.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        with _alone(folder):
            for other in _writers(folder):
                if other.pid not in (_started_by(), for_whom) and not part.apart(other.part):
                    raise ConfigError(
                        f"{folder} is being written by process {other.pid} ({other.part}); wait until it is done, or "
                        "give each process a part of its own, with --shard or --concept where the command has them."
                    )
            mine = held.enter_context(tempfile.NamedTemporaryFile("w", dir=folder, prefix=PREFIX))
            _lock(mine)
            json.dump(asdict(Writer(os.getpid(), part)), mine)
            mine.flush()
        yield


def _started_by() -> int:
    """The process that wanted this one, which need not be the one that it was forked from."""
    import multiprocessing  # --help does without

    parent = multiprocessing.parent_process()
    return parent.pid if parent and parent.pid else os.getppid()


def writers(folder: Path) -> list[Writer]:
    """Everybody who is writing into ``folder`` now."""
    with _alone(folder):
        return _writers(folder)


def _writers(folder: Path) -> list[Writer]:
    return [writer for path in sorted(folder.glob(f"{PREFIX}*")) if (writer := _writer(path))]


def _writer(path: Path) -> Writer | None:
    """Whoever holds the file; None where nobody does, and then it goes."""
    with path.open(encoding="utf-8") as file:
        try:
            _lock(file)
        except BlockingIOError:
            values = json.load(file)
            return Writer(values["pid"], Part(values["part"]["concept"], Shard(**values["part"]["shard"])))
        path.unlink()
    return None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """For the moment in which a writer looks round and says that it is there."""
    import fcntl

    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _lock(file: IO[str]) -> None:
    """Until the file is closed, by this process or by its end.

    Raises:
        BlockingIOError: another one has it.
    """
    import fcntl  # there is none on Windows, where everything but a record can be used

    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
