"""``stanchion serve`` as a process of its own, as an operator starts it, and the memory that it takes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from ...errors import StanchionError

READY_SECONDS = 300


class ServerProcess:
    """A server on the loopback; its resident memory is looked at every second.

    Attributes:
        memory: MiB, second by second since it was ready.
    """

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process, self.port = process, port
        self.memory: list[float] = []
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)

    def ready(self) -> None:
        """Wait until it serves.

        Raises:
            StanchionError: it ended, or takes too long.
        """
        until = time.monotonic() + READY_SECONDS
        while not self._serves():
            if self.process.poll() is not None or time.monotonic() > until:
                raise StanchionError("the server did not start; try 'stanchion serve' by hand.")
            time.sleep(0.2)
        self._watch.start()

    def end(self) -> None:
        """As an operator ends it."""
        self._over.set()
        self.process.terminate()
        self.process.wait()

    def _serves(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=10) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def _look(self) -> None:
        pages = Path(f"/proc/{self.process.pid}/statm")
        while not self._over.wait(1.0) and pages.exists():
            self.memory.append(int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20)


@contextmanager
def server_process(folder: Path, policy: Mapping[str, Any]) -> Iterator[ServerProcess]:
    """Serve a policy, which is written into the folder, on a port that was free."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "policy.yaml"
    file.write_text(yaml.safe_dump(dict(policy)), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "stanchion", "serve", "--policy", str(file), "--port", str(port)]
    with (folder / "server.log").open("wb") as log:
        server = ServerProcess(subprocess.Popen(command, stdout=log, stderr=log), port)
    try:
        server.ready()
        yield server
    finally:
        server.end()
