"""What is too large or too slow for the tests: ``python tests/server/by_hand.py connections|sigterm|kill [NUMBER]``.

Each starts ``stanchion serve`` with the recommended policy, does that to it, and prints what came of it.
"""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

from stanchion.benchmark.studies._open_loop import offer
from stanchion.benchmark.studies._server_process import server_process

BODY_SECONDS = 30.0


def readyz(port: int) -> str:
    """What it says, and after how long."""
    begun = time.monotonic()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=60) as answer:
            found = str(answer.status)
    except urllib.error.HTTPError as error:
        found = str(error.code)
    except OSError as error:
        found = type(error).__name__
    return f"{found} after {time.monotonic() - begun:.2f} s"


def connections(server, count: int) -> None:
    """Many that send nothing."""
    lines = []
    with contextlib.suppress(OSError):
        while len(lines) < count:
            lines.append(socket.create_connection(("127.0.0.1", server.port), timeout=20))
    print(f"open: {len(lines)}; readyz: {readyz(server.port)}; memory: {server.memory[-1]:.0f} MiB", flush=True)
    begun, hung_up = time.monotonic(), 0
    for line in lines:
        line.settimeout(2 * BODY_SECONDS)
        with contextlib.suppress(OSError):
            hung_up += line.recv(1) == b""
    print(f"hung up on: {hung_up}, {time.monotonic() - begun:.0f} s later; readyz: {readyz(server.port)}")


def ended(server, count: int, kill: bool, audit: Path) -> None:
    """Ended while it draws, with many waiting."""
    bodies = [json.dumps({"prompt": "a house", "seed": seed}).encode() for seed in range(count)]
    threading.Timer(3.0, server.process.kill if kill else server.process.terminate).start()
    replies = offer(server.port, bodies, [0.0] * count)
    print("answers:", dict(Counter(reply.status for reply in replies)), "exit code:", server.process.wait())
    logged = [json.loads(line) for line in audit.read_text().splitlines(keepends=True) if line.endswith("\n")]
    print("in the log:", dict(Counter(line["outcome"] for line in logged)))


def main() -> None:
    what, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 32
    with tempfile.TemporaryDirectory() as folder:
        audit = Path(folder) / "audit.jsonl"
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(1024, count + 1000),) * 2)
        policy = {"audit": {"file": str(audit)}, "limits": {"body_seconds": BODY_SECONDS}}
        with server_process(Path(folder), policy) as server:
            time.sleep(2)  # it has been looked at
            if what == "connections":
                connections(server, count)
            else:
                ended(server, count, what == "kill", audit)


if __name__ == "__main__":
    main()
