"""The application: OpenAI's images and moderations paths on a guarded service. The event loop never runs torch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request, Response

from ..quota import Quota
from ..requests import Answer, Ask, Picture
from ..service import GuardedService
from . import pictures
from .answers import ALWAYS, Health, Images, Model, Models, Moderation, errors
from .bodies import Generation, Question, ask_of, check_name, form_schema, read_form
from .door.gate import Gate, answered
from .errors import Json, install
from .looking import looked_at
from .metrics import Counted, Metrics
from .playground.routes import install_playground


def create_app(service: GuardedService) -> FastAPI:
    """The application around a service; when the server ends, the service is stopped."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.stop)

    app = FastAPI(
        title="Stanchion", version=version("stanchion"), docs_url=None, redoc_url=None, lifespan=lifespan
    )  # the pages that show OpenAPI load scripts from other hosts
    metrics = Metrics(service)
    app.add_middleware(Gate, policy=service.policy)
    app.add_middleware(Counted, metrics=metrics)
    install(app)
    quota = Quota()
    _images(app, service, quota)
    _moderations(app, service)
    _models(app, service)
    _health(app, service, metrics)
    if service.policy.playground.enabled:
        install_playground(app, service, quota)
    _without_422(app)
    return app


def _images(app: FastAPI, service: GuardedService, quota: Quota) -> None:
    policy, name = service.policy, service.policy.served_name
    told: Any = {"response_model": Images, "responses": errors(400, 404, 429, 503, *ALWAYS)}

    async def drawn(request: Request, ask: Ask, body: Generation) -> Response:
        with quota.taken(request.state.key, ask.count):
            future = service.submit(ask)
        answer = await answered(request, future, policy.limits.seconds)
        return Json(await asyncio.to_thread(_said, answer, ask, body))

    @app.post("/v1/images/generations", **told)
    async def generations(body: Generation, request: Request) -> Response:
        """Draw a prompt."""
        check_name(body.model, name)
        about = {"key": request.state.key.name, "id": request.state.id}
        return await drawn(request, ask_of(body, policy, service.studio.size, **about), body)

    @app.post("/v1/images/edits", openapi_extra=form_schema(), **told)
    async def edits(request: Request) -> Response:
        """Draw a prompt, beginning with a picture; with a mask only what is transparent in it."""
        body, files = await read_form(request)
        check_name(body.model, name)
        about = {"key": request.state.key.name, "id": request.state.id}

        def read() -> Ask:
            most = policy.limits.sent_side
            image = pictures.read(files["image"], most, "image")
            mask = pictures.read_mask(files["mask"], most, image.size) if "mask" in files else None
            return ask_of(body, policy, service.studio.size, image=image, mask=mask, **about)

        return await drawn(request, await asyncio.to_thread(read), body)


def _moderations(app: FastAPI, service: GuardedService) -> None:
    name = service.policy.served_name

    @app.post("/v1/moderations", response_model=Moderation, responses=errors(400, 404, 429, 503, *ALWAYS))
    async def moderations(body: Question, request: Request) -> Response:
        """What the policy's guards say of texts and pictures."""
        check_name(body.model, name)
        texts, images, results = await asyncio.to_thread(looked_at, body, service.policy)
        seen = await answered(request, service.look(texts, images), service.policy.limits.seconds)
        return Json({"id": request.state.id, "model": name, "results": results(seen)})


def _models(app: FastAPI, service: GuardedService) -> None:
    model = Model(id=service.policy.served_name, created=int(time.time())).model_dump()

    @app.get("/v1/models", response_model=Models, responses=errors(*ALWAYS))
    async def models() -> Response:
        """The model that is served."""
        return Json({"object": "list", "data": [model]})

    @app.get("/v1/models/{name:path}", response_model=Model, responses=errors(404, *ALWAYS))
    async def one_model(name: str) -> Response:
        """The same, by its name."""
        check_name(name, model["id"])
        return Json(model)


def _health(app: FastAPI, service: GuardedService, metrics: Metrics) -> None:
    @app.get("/healthz", response_model=Health)
    async def healthz() -> Response:
        """Whether the process answers."""
        return Json({"status": "ok"})

    @app.get("/readyz", response_model=Health, responses={503: {"model": Health, "description": "Not now, and why."}})
    async def readyz() -> Response:
        """Whether it serves."""
        trouble = service.trouble
        return Json({"status": trouble or "ok"}, 503 if trouble else 200)

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def read_metrics() -> Response:
        """Numbers for Prometheus."""
        return Response(metrics.page(), media_type=metrics.content_type)


def _said(answer: Answer, ask: Ask, body: Generation) -> dict[str, Any]:
    form = body.output_format or "png"

    def one(picture: Picture) -> dict[str, Any]:
        said = [{key: getattr(found, key) for key in ("stage", "guard", "concept", "action")} for found in picture.said]
        file = pictures.written(picture.image, form, body.output_compression)
        return {"b64_json": file, "seed": picture.seed, "findings": said}

    data = [one(picture) for picture in answer.pictures]
    return {"created": int(time.time()), "data": data, "output_format": form, "size": f"{ask.width}x{ask.height}"}


def _without_422(app: FastAPI) -> None:
    """FastAPI says of every path that it may answer 422; here malformed requests get 400."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        schema = make()
        for path in schema["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        for name in ("HTTPValidationError", "ValidationError"):
            schema["components"]["schemas"].pop(name, None)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
