"""Carries out a job on a Ray cluster: a task for each group of cells, which fill parts of one record.

The cluster is joined already (``cluster``), its machines have this package, and they see the record's folder under the
same path, on a file system with locks. A worker that dies has its group done again, by another one, where it was: what
a record has is not made twice.
"""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from math import inf
from typing import Any

from ....errors import ConfigError
from ....files.shards import ALL, Shard
from ....files.writers import Part, writing
from ..engine import NEVER, Clock, cells_of, fill
from .local import Job, say

LOCAL = "local"
TRIES = 3  # of a group whose worker died; one that kills each of them ends the run


@contextmanager
def cluster(address: str, **options: Any) -> Iterator[None]:
    """Join a cluster; one that is started for that (``local``, with ``ray.init``'s options) ends with it.

    Raises:
        ConfigError: ray is not installed, or the cluster can't be joined.
    """
    try:
        import ray
    except ImportError as error:
        raise ConfigError("ray is not installed; pip install 'stanchion[ray]'.") from error
    here = {"include_dashboard": False} if address == LOCAL else {"address": address}
    try:
        ray.init(**{**here, "logging_level": "warning", **options})
    except Exception as error:  # what Ray raises has no class of its own
        raise ConfigError(f"--ray {address}: {type(error).__name__}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


def carry_out(job: Job, *, clock: Clock = NEVER, shard: Shard = ALL) -> bool:
    """Fill the job's record; False where the clock passed first. Whoever calls this is the record's writer.

    A task has a GPU where the cluster has any, else a core.

    Raises:
        StanchionError: of the first task that fails; the others are ended then.
    """
    import ray

    needs = {"num_gpus": 1} if ray.cluster_resources().get("GPU") else {"num_cpus": 1}
    options = {**needs, "max_retries": TRIES}
    packed, until = pickle.dumps(job), _wall(clock)

    def in_groups(kind: int) -> bool:
        groups = ray.get(ray.remote(**options)(_groups).remote(packed, kind, shard))
        parts = shard.split(max(1, groups))
        waiting = [ray.remote(**options)(_fill).remote(packed, kind, part, until, os.getpid()) for part in parts]
        try:
            return all(ray.get(waiting))
        except BaseException:
            for task in waiting:
                ray.cancel(task, force=True)
            raise

    try:
        return all(in_groups(kind) for kind in range(job.kinds))
    except ray.exceptions.RayTaskError as error:  # what the task raised, without Ray's own words around it
        raise error.cause from error


def _groups(packed: bytes, kind: int, shard: Shard) -> int:
    """How many groups of cells a shard has: the model names the pictures that cells share, so a worker counts."""
    work = _job(packed).works(shard)[kind]
    return len({work.group(cell) for cell in cells_of(work, shard)})


def _fill(packed: bytes, kind: int, shard: Shard, until: float, writer: int) -> bool:
    job = _job(packed)
    with writing(job.folder, Part(job.concept, shard), for_whom=writer):
        return fill(job.works(shard)[kind], clock=_clock(until), shard=shard, tell=say)


@lru_cache(1)
def _job(packed: bytes) -> Any:
    """The same one for every task of a process, so that it loads its model once."""
    from ....pipeline.loading import without_progress_bars

    without_progress_bars()
    return pickle.loads(packed)


def _wall(clock: Clock) -> float:
    """When it passes, as all machines tell the time."""
    return inf if clock.until == inf else time.time() + clock.until - time.monotonic()


def _clock(until: float) -> Clock:
    return NEVER if until == inf else Clock(time.monotonic() + until - time.time())
