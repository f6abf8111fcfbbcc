"""Runs a script in several processes, as a user of torchrun would."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path


def torchrun(script: str | Path, *arguments: str, processes: int = 2) -> str:
    """Standard output of ``script`` under torchrun on a free port of the loopback; raises where a process failed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}"]
    command += [f"--master-port={port}", "--master-addr=127.0.0.1", str(script), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=1800)  # ends what hangs
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout
