"""The worker extension on vLLM-Omni's documented interface, around a real pipeline; it needs CUDA's torch itself."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import tiny
from closeness import near, same_bits
from stanchion.errors import ConfigError, GuardBypassed, UnsupportedPipeline
from stanchion.integrations.vllm_omni import GuardedWorker


class Adapter(nn.Module):
    """Calls a stock pipeline, as DiffusersAdapterPipeline does."""

    def __init__(self) -> None:
        super().__init__()
        self._pipeline = tiny.pipeline()


class Worker:
    """What the extension is put before, as ``type(name, (extension, worker), {})``."""

    def __init__(self, **additional: Any) -> None:
        self.od_config = SimpleNamespace(additional_config=additional)
        self.model_runner = SimpleNamespace(pipeline=None)

    def load_model(self, load_format: str = "default") -> str:
        self.model_runner.pipeline = Adapter() if load_format == "diffusers" else nn.Linear(1, 1)
        return load_format

    def execute_model(self, prompt: str) -> torch.Tensor:
        return tiny.draw(self.model_runner.pipeline._pipeline, prompt)


def worker(**values: Any) -> Any:
    return type("WorkerWithGuards", (GuardedWorker, Worker), {})(**values)


SLD = {"stanchion": {"concept": "weapons", "guard": "sld", "settings": {"sld": {"preset": "strong"}}}}


def test_a_loaded_worker_draws_guarded() -> None:
    one = worker(**SLD)
    assert one.load_model("diffusers") == "diffusers"
    drawn = one.execute_model("a photo of a knife")
    assert not near(drawn, tiny.draw(tiny.pipeline(), "a photo of a knife"))
    (guard,) = one._stanchion.guards
    assert (guard.name, guard.settings.preset) == ("sld", "strong")
    one.load_model("diffusers")
    assert same_bits(one.execute_model("a photo of a knife"), drawn)


def test_no_worker_starts_unguarded() -> None:
    with pytest.raises(UnsupportedPipeline, match=r"Linear is a model of vLLM-Omni's own"):
        worker(**SLD).load_model()
    with pytest.raises(ConfigError, match="additional_config has no 'stanchion'"):
        worker().load_model("diffusers")
    with pytest.raises(ConfigError, match="unknown key 'guards'; did you mean guard"):
        worker(stanchion={"concept": "weapons", "guards": "sld"}).load_model("diffusers")


def test_a_pipeline_that_was_exchanged_draws_nothing() -> None:
    one = worker(**SLD)
    one.load_model("diffusers")
    one.model_runner.pipeline = Adapter()
    with pytest.raises(GuardBypassed, match="load it again"):
        one.execute_model("a photo of a knife")
    with pytest.raises(UnsupportedPipeline):
        one.load_model()
    with pytest.raises(GuardBypassed):
        one.execute_model("a photo of a knife")
