"""What several threads may do at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import diffusers
import pytest

import tiny
from bypass.routes import GUARDED, SAME, Raised, Route, Routes, bypassed
from bypass.test_callbacks import drawn
from bypass.test_modules import inputs
from bypass.test_siblings import sibling
from bypass.trial import GUARDS, UNSAFE, Trial, check
from closeness import near
from stanchion import GuardBypassed

ROUTES = Routes("What several threads do at once", guards=("text", "attention"), shared=True)


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """What each gives, in their order."""
    with ThreadPoolExecutor(len(works)) as pool:
        return [done.result() for done in [pool.submit(work) for work in works]]


def during(trial: Trial, work: Callable[[], Any]) -> tuple[Any, Any]:
    """A picture, and what another thread gives that begins while it is drawn."""
    with ThreadPoolExecutor(1) as pool:
        begun: list[Any] = []
        picture = drawn(trial, lambda pipe, values: begun.append(pool.submit(work)))
        return picture, begun[0].result()


@ROUTES.route("the pipeline is called from two threads", SAME)
def two_calls(trial: Trial) -> Any:
    first, second = at_once(trial.draw, trial.draw)
    if trial.guard:  # which takes turns; diffusers promises nothing of its own two calls
        assert near(first, second)  # a second thread may have another share of the cores
    return first


@ROUTES.route("a sibling with another guard draws at the same time", SAME)
def two_siblings(trial: Trial) -> Any:
    other = sibling(trial.pipe)
    if trial.guard:
        guard = GUARDS["attention" if trial.guard == "text" else "text"](other)
        trial.after.callback(guard.attach(other).detach)
    first, _ = at_once(trial.draw, lambda: tiny.draw(other, UNSAFE))
    trial.last = trial.attachment
    return first


@ROUTES.route("another thread runs the denoiser while the pipeline draws", bypassed("outside a guarded call"))
def denoiser_meanwhile(trial: Trial) -> Any:
    unet = trial.pipe.unet
    return during(trial, lambda: unet(*inputs()).sample)[1]


@ROUTES.route("another thread draws with an unguarded sibling meanwhile", bypassed("outside a guarded call"))
def sibling_meanwhile(trial: Trial) -> Any:
    other = sibling(trial.pipe)
    return during(trial, lambda: trial.draw(other))[1]


@ROUTES.route("another thread takes the guard off while the pipeline draws: it waits", GUARDED, attached=False)
def detached_meanwhile(trial: Trial) -> Any:
    attachment = trial.make_guard().attach(trial.pipe) if trial.guard else None
    picture, _ = during(trial, attachment.detach if attachment else lambda: None)
    trial.last = attachment
    return picture


@ROUTES.route("coroutines call the pipeline in threads", SAME)
def coroutines(trial: Trial) -> Any:
    async def both() -> list[Any]:
        return await asyncio.gather(asyncio.to_thread(trial.draw), asyncio.to_thread(trial.draw))

    return asyncio.run(both())[1]


@ROUTES.route("a call is left with an error, and another thread draws", SAME)
def after_an_error(trial: Trial) -> Any:
    def fail(pipe: Any, values: Any) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        drawn(trial, fail)
    return at_once(trial.draw)[0]


SWAPPED = Routes("What another thread does to the modules meanwhile", guards=("text",))


@SWAPPED.route("puts another denoiser in", bypassed("pipe.unet was replaced"))
def denoiser_replaced_meanwhile(trial: Trial) -> Any:
    other = tiny.pipeline(seed=1).unet
    return during(trial, lambda: setattr(trial.pipe, "unet", other))[0]


@SWAPPED.route("puts the stock class back", Raised(GuardBypassed))
def class_put_back_meanwhile(trial: Trial) -> Any:
    return during(trial, lambda: setattr(trial.pipe, "__class__", diffusers.StableDiffusionPipeline))[0]


@ROUTES.tried()
def test_at_once(route: Route) -> None:
    check(route)


@SWAPPED.tried()
def test_to_the_modules_meanwhile(route: Route) -> None:
    check(route)
