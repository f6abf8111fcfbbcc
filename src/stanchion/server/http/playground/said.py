"""What the playground is sent and what it gets, for OpenAPI."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from ..bodies import EXACT, Body, Name


class TrialAsked(Body):
    """A prompt to be drawn with the guards that are named, and, where the policy allows it, without any."""

    prompt: str = Field(min_length=1)
    concept: Name
    guards: Annotated[list[Name], Field(max_length=32)] = Field(
        description="Names from /v1/playground; those that the policy does not let go are on in any case."
    )
    seed: int | None = Field(None, ge=0, le=EXACT)
    steps: int | None = Field(None, ge=1)
    guidance_scale: float | None = Field(None, ge=0, le=1000)
    unguarded: bool | None = Field(None, description="Also the picture without guards.")


class Switch(BaseModel):
    """A guard: ``when`` is what the policy does where it acts, null for one that no policy names; ``watches`` says that
    it stands behind one that steers the trajectory, which only one can do."""

    name: str
    guard: str
    stage: str
    watches: bool
    summary: str
    on: bool
    locked: bool
    when: str | None


class ConceptSaid(BaseModel):
    """A concept, how it is said, and its guards in the order of the stages."""

    name: str
    targets: list[str]
    guards: list[Switch]


class Always(BaseModel):
    """A guard of the policy that is on whatever is chosen."""

    guard: str
    concept: str


class PlaygroundSaid(BaseModel):
    """What can be asked here."""

    model: str
    version: str
    size: str
    steps: int
    most_steps: int
    guidance_scale: float
    prompt_characters: int
    unguarded: bool
    record: bool
    concepts: list[ConceptSaid]
    always: list[Always]


class GuardSaid(BaseModel):
    """What a guard's own report says of the call."""

    name: str
    guard: str
    stage: str
    concept: str
    when: str | None
    watches: bool
    threshold: float | None = Field(description="Of a guard that watches: the probability from which a step is a hit.")
    refused: bool = Field(description="Whether it let no picture be made; what is said ends there.")
    acted: bool
    active_steps: int
    acted_at: list[bool] = Field(description="One for each denoiser pass, or a single one for what acts once a call.")
    scores: dict[str, list[float]]
    details: dict[str, Any]


class MarkSaid(BaseModel):
    """Characters of the prompt, counted in code points, that a guard took for the concept."""

    guard: str
    start: int
    end: int
    score: float | None


class PictureSaid(BaseModel):
    """A picture (base64 of a PNG file), or why there is none, and what its call took."""

    b64_json: str | None
    withheld: str = ""
    milliseconds: float


class TrialSaid(BaseModel):
    """Both pictures, and the evidence of the guarded call."""

    id: str
    concept: str
    seed: int
    size: str
    steps: int
    guidance_scale: float
    passes: int
    total: int
    guarded: PictureSaid
    unguarded: PictureSaid | None
    guards: list[GuardSaid]
    marks: list[MarkSaid]


class AttemptSaid(BaseModel):
    """A line of the record. ``unattacked`` says whether the prompt was unsafe by itself."""

    concept: str
    prompt_set: str
    prompt: str
    seed: int
    guard: str
    variant: str
    attack: str
    adaptive: bool | None
    restart: int | None
    sent: str | None = Field(description="What the attack sent in the prompt's place, where that is a text.")
    queries: int
    outcome: Literal["through", "held", "unscored"]
    found: list[str]
    reason: str
    unattacked: bool | None
    acted: dict[str, Any]
    picture: str | None


class CellSaid(BaseModel):
    """Counts of one attack on one guard."""

    concept: str
    guard: str
    variant: str
    attack: str
    adaptive: bool | None
    attempts: int
    through: int
    held: int
    unscored: int
    unattacked: int


class AttemptsSaid(BaseModel):
    """Counts of the whole record, and a page of the attempts that were asked for."""

    record: str
    cells: list[CellSaid]
    total: int
    offset: int
    attempts: list[AttemptSaid]
