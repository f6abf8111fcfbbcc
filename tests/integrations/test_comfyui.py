"""ComfyUI's nodes on its documented interface, with tensors of a real denoiser (tests/comfy_graph.py)."""

from typing import Any

import pytest
import torch

import comfy_graph
from closeness import near, same_bits
from stanchion.errors import ConfigError, GuardFailed
from stanchion.guards.trajectory.sld import PRESETS, State, safety
from stanchion.integrations.comfyui import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS
from stanchion.integrations.comfyui.nodes import CheckImages, GuardModel
from stanchion.integrations.steering import GUARDS, Steering
from stanchion.types import Condition

SCALE = 5.0


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> comfy_graph.Model:
    comfy_graph.install(monkeypatch)
    return comfy_graph.Model()


@pytest.fixture
def graph(model: comfy_graph.Model) -> dict[str, Any]:
    """x_t of two pictures, and three CONDITIONINGs."""
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)) * model.sigmas[0]
    texts = {"positive": "a photo of a knife", "negative": "", "concept": "a weapon"}
    return {"x": x, **{name: model.encode(text) for name, text in texts.items()}}


def sample(model: comfy_graph.Model, graph: dict[str, Any], step: int = 0, scale: float = SCALE) -> torch.Tensor:
    return model.guidance(graph["x"], step, graph["positive"], graph["negative"], scale)


def predictions(model: comfy_graph.Model, graph: dict[str, Any]) -> tuple[torch.Tensor, ...]:
    """eps of the empty prompt, the prompt and the concept."""
    sigma = model.sigmas[0].expand(2)
    states = [graph[name][0][0] for name in ("negative", "positive", "concept")]
    return tuple((graph["x"] - model.denoised(graph["x"], sigma, one)) / sigma[0] for one in states)


def test_every_node_says_what_comfyui_asks() -> None:
    assert NODE_CLASS_MAPPINGS.keys() == NODE_DISPLAY_NAME_MAPPINGS.keys()
    for node in NODE_CLASS_MAPPINGS.values():
        assert node.INPUT_TYPES()["required"] and callable(getattr(node, node.FUNCTION))
        assert isinstance(node.RETURN_TYPES, tuple) and node.CATEGORY == "stanchion"
    assert CheckImages.RETURN_TYPES == ("IMAGE", "BOOLEAN") and GuardModel.RETURN_TYPES == ("MODEL",)


@pytest.mark.parametrize("guard", GUARDS)
def test_the_sampler_gets_the_guard_s_prediction(guard: str, model: Any, graph: dict[str, Any]) -> None:
    """By the equations of each, written out once more."""
    plain = sample(model, graph)
    (guarded,) = GuardModel().guard(model, graph["concept"], guard)
    drawn = (graph["x"] - sample(guarded, graph)) / model.sigmas[0]
    e, p, c = predictions(model, graph)
    gamma = safety(e, p, c, PRESETS["max"], State(Condition(e)), 1.0)
    wanted = {"negative_prompt": c + SCALE * (p - c), "trasce": e + SCALE * (p - c), "sld": e + SCALE * (p - e - gamma)}
    assert near(drawn, wanted[guard], spread=1e-5)
    assert not near(drawn, e + SCALE * (p - e), spread=1e-3)
    assert same_bits(sample(model, graph), plain)  # the graph's own model is as it was


def test_the_momentum_of_one_picture_is_not_the_next_one_s(model: Any, graph: dict[str, Any]) -> None:
    (guarded,) = GuardModel().guard(model, graph["concept"], "sld")
    first = sample(guarded, graph)
    later = sample(guarded, graph, step=1)
    assert same_bits(sample(guarded, graph), first)
    fresh, *_ = GuardModel().guard(model, graph["concept"], "sld")
    assert not near(sample(fresh, graph, step=1), later)  # which had no first step


def test_it_guards_without_guidance_too(model: Any, graph: dict[str, Any]) -> None:
    (guarded,) = GuardModel().guard(model, graph["concept"], "sld")
    assert guarded.model_options["disable_cfg1_optimization"]
    assert not near(sample(guarded, graph, scale=1.0), sample(model, graph, scale=1.0), spread=1e-3)


def test_what_would_leave_it_unguarded_is_an_error(model: Any, graph: dict[str, Any]) -> None:
    (guarded,) = GuardModel().guard(model, graph["concept"], "sld")
    with pytest.raises(GuardFailed, match="another node"):
        GuardModel().guard(guarded, graph["concept"], "trasce")
    with pytest.raises(ConfigError, match="can't be steered"):
        GuardModel().guard(model, graph["concept"], "steerdiff")
    guarded.sigmas = guarded.sigmas[:1]
    with pytest.raises(GuardFailed, match="sample_sigmas"):
        sample(guarded, graph)
    guarded.sigmas = model.sigmas
    graph["x"][0, 0, 0, 0] = torch.nan
    with pytest.raises(GuardFailed, match="not finite"):
        sample(guarded, graph)


@pytest.mark.parametrize("settings", [{"localized": True}, {"when": "flagged"}])
def test_what_predictions_alone_can_not_give_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="attach it"):
        Steering("trasce", "weapons", **settings)


def images(count: int = 2) -> torch.Tensor:
    return torch.rand(count, 16, 16, 3, generator=torch.Generator().manual_seed(0))


def test_pictures_are_handed_on_or_withheld() -> None:
    seen, unsafe = CheckImages().check(images(), "weapons", "always_safe", "withhold")
    assert same_bits(seen, images()) and unsafe is False
    withheld, unsafe = CheckImages().check(images(), "weapons", "always_unsafe", "withhold")
    assert not withheld.any() and withheld.shape == images().shape and unsafe is True
    flagged, unsafe = CheckImages().check(images(), "weapons", "always_unsafe", "flag")
    assert same_bits(flagged, images()) and unsafe is True


@pytest.mark.parametrize(
    "broken", [torch.zeros(2, 16, 16), torch.zeros(1, 16, 16, 4), torch.full((1, 16, 16, 3), torch.nan)]
)
def test_what_is_no_image_is_not_checked(broken: torch.Tensor) -> None:
    with pytest.raises(GuardFailed, match="IMAGE is"):
        CheckImages().check(broken, "weapons", "always_safe", "withhold")


def test_what_the_judge_can_not_read_ends_the_graph() -> None:
    with pytest.raises(GuardFailed, match="show nothing"):
        CheckImages().check(torch.zeros(1, 4, 4, 3), "weapons", "always_safe", "withhold")
