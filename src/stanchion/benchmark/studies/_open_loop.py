"""An open loop of HTTP requests: each is sent when its time has come, however many are on their way already.

So a server that falls behind is not spared, as one is by clients who wait for their answers (coordinated omission).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

PATH = "/v1/images/generations"


@dataclass(frozen=True)
class Reply:
    """What came back, and when.

    Attributes:
        status: of HTTP; 0 where the connection failed.
        seconds: from the time at which it was to be sent to the last byte.
        at: when that was, in seconds after the loop began.
    """

    status: int
    seconds: float
    at: float
    body: bytes = b""


def offer(port: int, bodies: Sequence[bytes], times: Sequence[float]) -> list[Reply]:
    """Send each JSON body at its time, in seconds from now, to a server on the loopback; all replies, in order."""

    async def loop() -> list[Reply]:
        begun = time.perf_counter()
        return await asyncio.gather(
            *(_at(port, body, moment, begun) for body, moment in zip(bodies, times, strict=True))
        )

    return asyncio.run(loop())


async def _at(port: int, body: bytes, moment: float, begun: float) -> Reply:
    await asyncio.sleep(begun + moment - time.perf_counter())
    try:
        status, data = await _post(port, body)
    except (OSError, ValueError, asyncio.IncompleteReadError):
        status, data = 0, b""
    now = time.perf_counter() - begun
    return Reply(status, now - moment, now, data)


async def _post(port: int, body: bytes) -> tuple[int, bytes]:
    """One request on a connection of its own."""
    head = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nConnection: close\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        status = int((await reader.readline()).split()[1])
        await reader.readuntil(b"\r\n\r\n")
        return status, await reader.read()
    except IndexError as error:
        raise ValueError("the connection was closed without an answer") from error
    finally:
        writer.close()
