"""What clients get: for OpenAPI, which names every status that a path may answer with."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel


class FindingSaid(BaseModel):
    """That a guard acted, where the policy says so."""

    stage: str
    guard: str
    concept: str
    action: str


class ImageSaid(BaseModel):
    """A picture: base64 of its file, its seed, and what was found."""

    b64_json: str
    seed: int
    findings: list[FindingSaid]


class Images(BaseModel):
    """The pictures of a request."""

    created: int
    data: list[ImageSaid]
    output_format: Literal["png", "jpeg", "webp"]
    size: str


class Result(BaseModel):
    """What was found in one input, by concept."""

    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float]
    category_applied_input_types: dict[str, list[Literal["text", "image"]]]


class Moderation(BaseModel):
    """The results, in the order of the inputs."""

    id: str
    model: str
    results: list[Result]


class Model(BaseModel):
    """The model that is served."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "stanchion"


class Models(BaseModel):
    """All of one."""

    object: Literal["list"] = "list"
    data: list[Model]


class Health(BaseModel):
    """Whether it is well, and why it is not."""

    status: str


class Details(BaseModel):
    """Where a refused request was found out, and what was found."""

    moderation_stage: str
    categories: list[str]


class ErrorSaid(BaseModel):
    """What went wrong; ``moderation_details`` where it was refused."""

    message: str
    type: str
    param: str | None
    code: str
    moderation_details: Details | None = None


class Error(BaseModel):
    """Any error."""

    error: ErrorSaid


MEANINGS = {
    400: "The request makes no sense, or it was refused (code moderation_blocked).",
    401: "No key, or an unknown one.",
    404: "There is no such model.",
    408: "The request was sent too slowly.",
    413: "The request is too large.",
    429: "Too many wait, or the key's pictures of this minute are drawn; Retry-After says when to come again.",
    500: "The server failed in a way that nobody foresaw.",
    503: "A guard or a judge failed (code moderation_unavailable), or nothing is served now. There is no picture.",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """``responses`` of a path."""
    return {status: {"model": Error, "description": MEANINGS[status]} for status in statuses}


ALWAYS = (401, 408, 413, 500)  # what the gate answers, and what nobody foresaw
