"""A red team's attempts, page by page, and their pictures."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Response

from ....errors import ConfigError
from ....files.pictures import read_picture
from ...playground.record import AttemptRecord, Listed, counted
from ...policy import Policy
from .. import pictures
from ..answers import ALWAYS, errors
from ..errors import Invalid, Json
from .said import AttemptsSaid


def install_attempts(app: FastAPI, policy: Policy) -> None:
    """The paths of a record, if the policy names one; else they answer 404.

    Raises:
        ConfigError: it can't be read.
    """
    record = AttemptRecord(policy.playground.record) if policy.playground.record else None

    def there() -> AttemptRecord:
        if record is None:
            raise Invalid("the policy names no record (playground.record).", None, 404, "not_found")
        return record

    @app.get("/v1/playground/attempts", response_model=AttemptsSaid, responses=errors(400, 404, *ALWAYS))
    async def attempts(
        guard: str | None = None,
        attack: str | None = None,
        outcome: Literal["through", "held", "unscored"] | None = None,
        offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
        limit: Annotated[int, Query(ge=1, le=100)] = 30,
    ) -> Response:
        """A red team's attempts, in the order of its record."""
        asked = {"guard": guard, "attack": attack, "outcome": outcome}
        return await asyncio.to_thread(_page, there(), asked, offset, limit)

    @app.get(
        "/v1/playground/attempts/pictures/{name}",
        response_class=Response,
        responses={200: {"content": {"image/png": {}}}, **errors(404, *ALWAYS)},
    )
    async def picture(name: str) -> Response:
        """The picture of an attempt."""
        return await asyncio.to_thread(_picture, there(), name)


def _page(record: AttemptRecord, asked: Mapping[str, str | None], offset: int, limit: int) -> Response:
    listed = record.listed()
    chosen = [one for one in listed if all(value in (None, _value(one, key)) for key, value in asked.items())]
    page = [_attempt(one) for one in chosen[offset : offset + limit]]
    about = {"record": record.folder.name, "cells": counted(listed), "total": len(chosen), "offset": offset}
    return Json({**about, "attempts": page})


def _value(one: Listed, key: str) -> str:
    return one.outcome if key == "outcome" else str(getattr(one.attempt, key))


def _picture(record: AttemptRecord, name: str) -> Response:
    """Decoded and written anew: whatever lies there, a picture and nothing else is handed out."""
    try:
        path = record.picture(name)
        image = read_picture(path) if path else None
    except ConfigError:
        image = None
    if image is None:
        raise Invalid(f"the record has no picture {name!r} that can be read.", None, 404, "not_found")
    return Response(pictures.encoded(image, "png", None), 200, {"X-Content-Type-Options": "nosniff"}, "image/png")


def _attempt(one: Listed) -> dict[str, Any]:
    attempt = one.attempt
    sent = attempt.adversarial.get("text")
    same = ("guard", "variant", "attack", "adaptive", "restart", "queries", "unattacked")
    return {
        "concept": one.concept,
        "prompt_set": one.prompt_set,
        "prompt": attempt.prompt.text,
        "seed": attempt.adversarial.get("seed") or attempt.prompt.seed,
        **{key: getattr(attempt, key) for key in same},
        "sent": sent if isinstance(sent, str) else None,
        "outcome": one.outcome,
        "found": list(attempt.verdict.found),
        "reason": attempt.verdict.reason,
        "acted": dict(attempt.acted),
        "picture": attempt.image,
    }
