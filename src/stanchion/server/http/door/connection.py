"""How uvicorn listens, and whom it hangs up on: by itself it waits for ever for a client that says or takes nothing."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from ...policy import Limits

AT_ONCE = struct.pack("ii", 1, 0)  # the kernel, too, forgets what nobody takes


def listening(limits: Limits) -> dict[str, Any]:
    """Options of uvicorn's for a policy's limits."""
    return {
        "http": type("Impatient", (Impatient,), {"seconds": limits.body_seconds}),
        "ws": "none",
        "limit_concurrency": limits.connections,
        "timeout_graceful_shutdown": int(limits.seconds) + 1,
        "access_log": False,
        "server_header": False,
    }


class Impatient(H11Protocol):
    """uvicorn's protocol, hanging up on who does not send the head of a request within ``seconds``, nor the rest of one
    that was answered before it was read, and on who takes nothing of an answer for as long."""

    seconds: ClassVar[float]
    _late: asyncio.TimerHandle | None = None
    _untaken: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        transport.set_write_buffer_limits(0)  # writing pauses whenever something is not taken
        self._wait_for_it()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE or self._answered_unread():
            self._wait_for_it()
        else:
            self._stop()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._answered_unread():
            self._wait_for_it()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._see_it_taken(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        self._taken()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        self._taken()
        super().connection_lost(exc)

    def _answered_unread(self) -> bool:
        return self.conn.our_state is h11.DONE and self.conn.their_state is h11.SEND_BODY

    def _wait_for_it(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(self.seconds, self.transport.close)

    def _stop(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _see_it_taken(self, left: int) -> None:
        self._untaken = self.loop.call_later(self.seconds, self._look_again, left)

    def _look_again(self, before: int) -> None:
        left = self.transport.get_write_buffer_size()
        if left < before:
            self._see_it_taken(left)
            return
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        self.transport.abort()

    def _taken(self) -> None:
        if self._untaken is not None:
            self._untaken.cancel()
            self._untaken = None
