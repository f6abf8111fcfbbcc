"""Carries out a job on this machine, in this process or in several that share no cell."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Protocol

from ....files.shards import ALL, Shard
from ....files.writers import Part, writing
from ..engine import NEVER, Clock, Work, fill, silent

THREADS = "OMP_NUM_THREADS"
IMPORTED = "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion"


class Job(Protocol):
    """Works that fill one record, one kind after the other: a later kind reads what the earlier ones left there.

    A value that can be sent to another process, which opens model and record for itself.
    """

    @property
    def folder(self) -> Path:
        """Of the record."""
        ...

    @property
    def concept(self) -> str:
        """Whose cells alone are meant; empty for all."""
        ...

    @property
    def kinds(self) -> int:
        """How many there are."""
        ...

    def works(self, shard: Shard) -> Sequence[Work]:
        """Its kinds, writing the shard's own part of the record."""
        ...


def carry_out(
    job: Job,
    *,
    processes: int = 1,
    clock: Clock = NEVER,
    shard: Shard = ALL,
    tell: Callable[[str], object] = silent,
) -> bool:
    """Fill the job's record; False where the clock passed first. Whoever calls this is the record's writer.

    Several processes have the cores' threads in equal parts, unless OMP_NUM_THREADS says how many each of them has.
    A picture's last digits follow from that number: with it, they are the same in one process and in several.

    Raises:
        StanchionError: of the first process that fails; the others are ended then.
    """
    if processes == 1:
        return all(fill(work, clock=clock, shard=shard, tell=tell) for work in job.works(shard))
    with ProcessPoolExecutor(processes, mp_context=_start(), initializer=_begin, initargs=(processes,)) as pool:
        try:
            return all(_in_parts(pool, job, kind, clock, shard.split(processes)) for kind in range(job.kinds))
        except BaseException:
            for child in multiprocessing.active_children():
                child.terminate()
            raise


def _start() -> BaseContext:
    """How processes begin: forked from one that has imported what all of them need, which takes seconds.

    That one has computed nothing, so it has no threads and no GPU that a fork would lose.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([IMPORTED])
    return context


def _in_parts(pool: ProcessPoolExecutor, job: Job, kind: int, clock: Clock, parts: Sequence[Shard]) -> bool:
    """One kind of work to its end: the next one begins when all parts are done."""
    waiting = [pool.submit(_fill, job, kind, clock, part) for part in parts]
    done = [part.result() for part in waiting]
    return all(done)


def _begin(processes: int) -> None:
    """A process of its own: Ctrl-C ends it without a word, for the one that started it says why."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if THREADS not in os.environ:
        import torch

        torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes))


def _fill(job: Job, kind: int, clock: Clock, shard: Shard) -> bool:
    with writing(job.folder, Part(job.concept, shard)):
        return fill(job.works(shard)[kind], clock=clock, shard=shard, tell=say)


def say(title: str) -> None:
    """On the standard error of a process of its own."""
    sys.stderr.write(f"{title}\n")
