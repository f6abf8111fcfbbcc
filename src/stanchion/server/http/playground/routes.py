"""The paths that the page asks: what can be chosen, and a picture with its evidence."""

from __future__ import annotations

import asyncio
from dataclasses import fields
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request, Response

from .... import registry
from ....concepts import Concept
from ....errors import ConfigError
from ...playground.choices import Choices
from ...playground.studio import PlaygroundStudio
from ...playground.trial import GuardChoice, Tried, Tryout
from ...policy import Policy
from ...quota import Quota
from ...requests import Ask
from ...service import GuardedService
from .. import pictures
from ..answers import ALWAYS, errors
from ..bodies import Generation, ask_of
from ..door.gate import answered
from ..errors import Invalid, Json
from .attempts import install_attempts
from .page import install_page
from .said import PlaygroundSaid, TrialAsked, TrialSaid

PATH = "/v1/playground"
EMPTY = ("refuse", "regenerate", "withhold", "blank")  # no picture at all; a blurred one is shown


def install_playground(app: FastAPI, service: GuardedService, quota: Quota) -> None:
    """The page and its paths.

    Raises:
        ConfigError: the policy's record can't be read, or the service draws elsewhere.
    """
    studio = service.studio
    if not isinstance(studio, PlaygroundStudio):
        raise ConfigError("the playground draws in the process that serves; this service draws elsewhere.")
    install_page(app)
    _choices(app, service, studio)
    _trials(app, service, studio, quota)
    install_attempts(app, service.policy)


def _choices(app: FastAPI, service: GuardedService, studio: PlaygroundStudio) -> None:
    policy, size = service.policy, studio.size
    said = {
        "model": policy.served_name,
        "version": version("stanchion"),
        "size": f"{size}x{size}",
        "steps": policy.steps,
        "most_steps": policy.limits.steps,
        "guidance_scale": policy.guidance_scale,
        "prompt_characters": policy.limits.prompt_characters,
        "unguarded": policy.playground.unguarded,
        "record": policy.playground.record is not None,
        **_offered(studio.choices),
    }

    @app.get(PATH, response_model=PlaygroundSaid, responses=errors(*ALWAYS))
    async def playground() -> Response:
        """Concepts, their guards, and what the policy allows here."""
        return Json(said)


def _offered(choices: Choices) -> dict[str, Any]:
    summaries = {name: entry.summary for name, entry in registry.entries("guards").items()}

    def switch(choice: GuardChoice) -> dict[str, Any]:
        guard, rule = choice.guard, choice.rule
        told = {"name": choice.name, "guard": guard.name, "stage": str(guard.stage), "watches": guard.watches}
        about = {"summary": summaries.get(guard.name, ""), "on": rule is not None, "locked": choices.locked(choice)}
        return told | about | {"when": rule and rule.when}

    def concept(one: Concept) -> dict[str, Any]:
        guards = [switch(choice) for choice in choices.by_concept[one.name].values()]
        return {"name": one.name, "targets": list(one.targets), "guards": guards}

    always = [
        {"guard": choice.name, "concept": choice.guard.concept.name} for choice in choices.own if choices.locked(choice)
    ]
    return {"concepts": list(map(concept, choices.concepts)), "always": always}


def _trials(app: FastAPI, service: GuardedService, studio: PlaygroundStudio, quota: Quota) -> None:
    policy, name = service.policy, service.policy.served_name
    told: Any = {"response_model": TrialSaid, "responses": errors(400, 404, 429, 503, *ALWAYS)}

    @app.post(f"{PATH}/pictures", **told)
    async def trial(body: TrialAsked, request: Request) -> Response:
        """Draw a prompt with some guards and, where the policy allows it, without; and say what each guard did."""
        if body.model not in (None, name):
            raise Invalid(f"there is no model {body.model!r}; {name!r} is served.", "model", 404, "model_not_found")
        ask = _trial(body, request, policy, studio)
        with quota.taken(request.state.key, 1 + ask.unguarded):
            future = service.submit(ask)
        answer = await answered(request, future, policy.limits.seconds)
        return Json(await asyncio.to_thread(_said, ask, body.concept, answer.pictures[0]))


def _trial(body: TrialAsked, request: Request, policy: Policy, studio: PlaygroundStudio) -> Tryout:
    """The request for the service.

    Raises:
        Invalid: it asks for what the policy does not allow, or for guards that are not there.
    """
    if body.unguarded and not policy.playground.unguarded:
        raise Invalid("the policy draws nothing without guards here (playground.unguarded is off).", "unguarded")
    if body.concept not in studio.choices.by_concept:
        raise Invalid(registry.unknown("concept", body.concept, studio.choices.by_concept), "concept")
    try:
        choices = studio.choices.taken(body.concept, body.guards)
    except ConfigError as error:
        raise Invalid(str(error), "guards") from error
    plain = Generation.model_validate(body.model_dump(include={"prompt", "seed", "steps", "guidance_scale"}))
    ask = ask_of(plain, policy, studio.size, key=request.state.key.name, id=request.state.id)
    values = {field.name: getattr(ask, field.name) for field in fields(Ask)}
    return Tryout(**values, choices=choices, unguarded=bool(body.unguarded))


def _said(ask: Tryout, concept: str, tried: Any) -> dict[str, Any]:
    assert isinstance(tried, Tried)
    kept = tried.withheld in EMPTY
    guarded = {
        "b64_json": None if kept else pictures.written(tried.image, "png", None),
        "withheld": tried.withheld,
        "milliseconds": _milliseconds(tried.seconds),
    }
    return {
        "id": ask.id,
        "concept": concept,
        "seed": tried.seed,
        "size": f"{ask.width}x{ask.height}",
        "steps": ask.steps,
        "guidance_scale": ask.guidance_scale,
        "passes": tried.passes,
        "total": tried.total,
        "guarded": guarded,
        "unguarded": tried.bare and _bare(tried.bare),
        "guards": [_guard(*pair, tried.refused_by) for pair in zip(ask.choices, tried.reports, strict=True)],
        "marks": [vars(mark) for mark in tried.marks],
    }


def _bare(bare: Any) -> dict[str, Any]:
    file = None if bare.image is None else pictures.written(bare.image, "png", None)
    withheld = "" if file else "safety_checker"
    return {"b64_json": file, "withheld": withheld, "milliseconds": _milliseconds(bare.seconds)}


def _guard(choice: GuardChoice, told: Any, refused_by: tuple[str, str] | None) -> dict[str, Any]:
    guard = choice.guard
    return {
        "name": choice.name,
        "guard": told.guard,
        "stage": told.stage,
        "concept": guard.concept.name,
        "when": choice.rule and choice.rule.when,
        "watches": guard.watches,
        "threshold": getattr(guard.settings, "threshold", None) if guard.watches else None,
        "refused": (told.guard, guard.concept.name) == refused_by,
        "acted": told.acted[0],
        "active_steps": told.active_steps[0],
        "acted_at": [row[0] for row in told.acted_at],
        "scores": {name: [row[0] for row in series] for name, series in told.scores.items()},
        "details": dict(told.details[0]) if told.details else {},
    }


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)
