"""Several processes under what torchrun tells them."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable


def torchrun(work: Callable[..., None], *arguments: str, processes: int = 2) -> None:
    """``work(*arguments)`` in processes that find the environment of torchrun; raises where one of them failed.

    They are forked from a process that has imported all and computed nothing, for importing takes most of the time.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([work.__module__])
    group = [
        context.Process(target=_one, args=(work, rank, processes, port, *arguments), daemon=True)
        for rank in range(processes)
    ]
    for process in group:
        process.start()
    for process in group:
        process.join(1800)  # ends what hangs
        assert process.exitcode == 0, f"a process ended with {process.exitcode}"


def _one(work: Callable[..., None], rank: int, processes: int, port: int, *arguments: str) -> None:
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
    os.environ.update({name: str(value) for name, value in place.items()})
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), OMP_NUM_THREADS="1")
    work(*arguments)
