"""How what goes wrong is said: ``{"error": {"message", "type", "param", "code"}}``, with a status that clients know.

A refusal is 400, never 200 without pictures and never 5xx, which clients try again. Where a guard, a judge, the log or
the drawing failed it is 503.
"""

from __future__ import annotations

import json
import math
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ...errors import (
    Busy,
    ConfigError,
    GuardError,
    JudgeError,
    PromptRefused,
    Refused,
    ServiceUnavailable,
    StanchionError,
    UnsupportedPipeline,
)

INVALID, BLOCKED = "invalid_request_error", "image_generation_user_error"


class Invalid(ConfigError):
    """A request that makes no sense, and which of its fields."""

    def __init__(self, message: str, param: str | None, status: int = 400, code: str = "invalid_value") -> None:
        super().__init__(message)
        self.param, self.status, self.code = param, status, code


class Json(JSONResponse):
    """In ASCII: half of a surrogate pair, which somebody may have sent, is no UTF-8."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def problem(
    status: int,
    message: str,
    kind: str,
    code: str,
    *,
    param: str | None = None,
    headers: dict[str, str] | None = None,
    **more: Any,
) -> Json:
    """An error as clients expect it."""
    error = {"message": message, "type": kind, "param": param, "code": code, **more}
    return Json({"error": error}, status, headers)


def said(error: StanchionError) -> Json:
    """The response to an error that was raised on purpose."""
    text = str(error)
    if isinstance(error, Refused):
        return problem(400, text, BLOCKED, "moderation_blocked", **_details(error.stage, error.concept))
    if isinstance(error, PromptRefused):
        return problem(400, text, BLOCKED, "moderation_blocked", **_details("prompt", "content_policy"))
    if isinstance(error, Invalid):
        return problem(error.status, text, INVALID, error.code, param=error.param)
    if isinstance(error, ConfigError):
        return problem(400, text, INVALID, "invalid_value")
    if isinstance(error, Busy):
        headers = {"Retry-After": str(math.ceil(error.retry_after))}
        return problem(429, text, "requests", "rate_limit_exceeded", headers=headers)
    if isinstance(error, GuardError | JudgeError | UnsupportedPipeline):
        return problem(503, text, "server_error", "moderation_unavailable")
    code = "service_unavailable" if isinstance(error, ServiceUnavailable) else "server_error"
    return problem(503 if code == "service_unavailable" else 500, text, "server_error", code)


def _details(stage: str, concept: str) -> dict[str, Any]:
    return {"moderation_details": {"moderation_stage": stage, "categories": [concept]}}


def install(app: FastAPI) -> None:
    """Have an application say its errors so."""
    app.add_exception_handler(StanchionError, lambda request, error: said(error))
    app.add_exception_handler(RequestValidationError, _malformed)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _of_http)  # type: ignore[arg-type]
    app.add_exception_handler(Exception, _unforeseen)


def _malformed(request: Request, error: RequestValidationError) -> Json:
    """The first of what is wrong; what was sent is not repeated."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return problem(400, f"the body is no JSON ({first['ctx']['error']}).", INVALID, "invalid_value")
    kind = request.headers.get("content-type", "")
    if first["loc"] == ("body",) and "json" not in kind:
        text = f"the body is read as JSON, and its content-type is {kind[:64]!r}: send application/json."
        return problem(400, text, INVALID, "invalid_value")
    where = ".".join(str(part) for part in first["loc"][1:] if not str(part).startswith("function-"))
    return problem(400, f"{where or 'body'}: {first['msg']}.", INVALID, "invalid_value", param=where or None)


def _of_http(request: Request, error: HTTPException) -> Json:
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
    headers = dict(error.headers or {})
    return problem(error.status_code, str(error.detail), INVALID, code, headers=headers)


def _unforeseen(request: Request, error: Exception) -> Json:
    return problem(500, "the server failed; its log says why.", "server_error", "server_error")
