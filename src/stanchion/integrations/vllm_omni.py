"""A worker extension for vLLM-Omni: guards are attached to the diffusers pipeline that a worker has loaded.

vLLM-Omni makes the worker's class of this one and its own, in this order. Only its diffusers backend calls a stock
pipeline; its own models are other classes, which no guard here knows: then the worker does not start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from .. import config
from ..concepts import load_concept
from ..config import Filled, checked
from ..errors import ConfigError, GuardBypassed, UnsupportedPipeline
from ..guards.loading import stack_of
from ..pipeline.attach.attachment import Attachment

KEY = "stanchion"  # in the engine's additional_config


@checked
@dataclass(frozen=True)
class WorkerSettings:
    """``additional_config["stanchion"]``.

    Attributes:
        concept: a built-in name or a YAML file.
        guard: names, stacks or saved folders, by commas.
        settings: by guard, its settings.
    """

    concept: Annotated[str, Filled()]
    guard: Annotated[str, Filled()]
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)


class GuardedWorker:
    """``worker_extension_cls="stanchion.integrations.vllm_omni.GuardedWorker"``.

    Raises:
        ConfigError: the engine's config names no guards, or guards that can't stand together.
        UnsupportedPipeline: what was loaded is no stock diffusers pipeline, or one on which a guard can't stand.
    """

    od_config: Any
    model_runner: Any
    _stanchion: Attachment | None = None

    def load_model(self, *args: Any, **kwargs: Any) -> Any:
        """Load as the worker does, then attach; what was attached to an earlier model goes with it."""
        loaded = super().load_model(*args, **kwargs)  # type: ignore[misc]
        self._stanchion = None
        self._stanchion = _attach(self.model_runner.pipeline, self.od_config)
        return loaded

    def execute_model(self, *args: Any, **kwargs: Any) -> Any:
        """Draw, where the guards are on the pipeline that draws.

        Raises:
            GuardBypassed: they are not.
        """
        if self._stanchion is None or _stock(self.model_runner.pipeline) is not self._stanchion.pipeline:
            raise GuardBypassed("the worker's pipeline is not the one that guards were attached to; load it again.")
        self._stanchion.assert_active()
        return super().execute_model(*args, **kwargs)  # type: ignore[misc]


def _attach(adapter: Any, engine: Any) -> Attachment:
    values = (getattr(engine, "additional_config", None) or {}).get(KEY)
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"additional_config has no {KEY!r}: say {{{KEY!r}: {{'concept': 'weapons', 'guard': 'sld'}}}}."
        )
    chosen = config.from_dict(WorkerSettings, values, where=KEY)
    names = [name.strip() for name in chosen.guard.split(",")]
    return stack_of(names, load_concept(chosen.concept), chosen.settings).attach(_stock(adapter))


def _stock(adapter: Any) -> Any:
    """The diffusers pipeline in vLLM-Omni's adapter."""
    pipe = getattr(adapter, "_pipeline", None)
    if pipe is None:
        raise UnsupportedPipeline(
            f"{type(adapter).__name__} is a model of vLLM-Omni's own, on which no guard stands; serve it "
            "through the diffusers backend, or with stanchion serve."
        )
    return pipe
