"""What every request under /v1 passes before anything reads it: who asks, how much is sent, and how slowly.

The body is read here, whole: what is sent too slowly or is too large is answered at once, also where it comes in
chunks of no announced size, and nothing behind the gate waits for a client. Whoever waits for an answer hears when the
client goes.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import MutableMapping
from concurrent.futures import Future
from typing import Any

from starlette.datastructures import Headers, MutableHeaders

from ....errors import ServiceUnavailable
from ...policy import Key, Policy
from ..errors import INVALID, problem

ANYBODY = Key("", "0" * 64)
VALUES = 50_000  # of a JSON body, or commas in its texts; what holds millions keeps the event loop for seconds


class _Closed(Exception):
    """The gate stays closed; with the response that says why, or without one where nobody is there to read it."""

    def __init__(self, response: Any = None) -> None:
        super().__init__()
        self.response = response


class Gate:
    """ASGI middleware; sets ``request.state.id`` and ``request.state.key``."""

    def __init__(self, app: Any, policy: Policy) -> None:
        self.app, self.policy = app, policy

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["id"] = f"req_{secrets.token_hex(12)}"

        async def named(message: Any) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["x-request-id"] = state["id"]
            await send(message)

        try:
            state["key"] = self._key(Headers(scope=scope))
            body = await self._body(Headers(scope=scope), receive)
        except _Closed as closed:
            if closed.response is not None:
                await closed.response(scope, receive, named)
            return
        await self.app(scope, _again(body, receive), named)

    def _key(self, headers: Headers) -> Key:
        if not self.policy.keys:
            return ANYBODY
        scheme, _, secret = headers.get("authorization", "").partition(" ")
        key = self.policy.key_of(secret.strip()) if scheme.lower() == "bearer" else None
        if key is None:
            challenge = {"WWW-Authenticate": "Bearer"}
            raise _Closed(
                problem(401, "give a valid key as bearer token.", INVALID, "invalid_api_key", headers=challenge)
            )
        return key

    async def _body(self, headers: Headers, receive: Any) -> bytes:
        limits = self.policy.limits
        announced = headers.get("content-length", "0")
        form = headers.get("content-type", "").startswith("multipart/")
        if announced.isdigit() and int(announced[:20]) > limits.body_bytes:
            raise self._too_large()
        body = bytearray()
        try:
            async with asyncio.timeout(limits.body_seconds):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Closed
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > limits.body_bytes:
                        raise self._too_large()
        except TimeoutError:
            text = f"the request was not sent within {limits.body_seconds:g} s."
            raise _Closed(problem(408, text, INVALID, "request_timeout", headers={"Connection": "close"})) from None
        if not form and body.count(b",") > VALUES:
            text = f"the request holds more than {VALUES} values."
            raise _Closed(problem(400, text, INVALID, "invalid_value"))
        return bytes(body)

    def _too_large(self) -> _Closed:
        text = f"the request is larger than {self.policy.limits.body_bytes} bytes."
        return _Closed(problem(413, text, INVALID, "request_too_large", headers={"Connection": "close"}))


def _again(body: bytes, receive: Any) -> Any:
    """What was read, and then whatever comes: that the client goes."""
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def read() -> Any:
        return left.pop() if left else await receive()

    return read


async def answered(request: Any, future: Future[Any], seconds: float) -> Any:
    """What the future gives, unless the client goes or the time is over; then nobody need work on it any more.

    Raises:
        ServiceUnavailable: the time is over, or nobody is there to read an answer.
    """
    answer = asyncio.wrap_future(future)
    gone = asyncio.create_task(_gone(request))
    try:
        done, _ = await asyncio.wait({answer, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        if not answer.done():
            answer.cancel()
    if answer in done:
        return answer.result()
    raise ServiceUnavailable("the client has gone." if gone in done else f"there was no answer within {seconds:g} s.")


async def _gone(request: Any) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
