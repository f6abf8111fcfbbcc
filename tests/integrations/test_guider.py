"""The guider draws on a modular pipeline what the attached guard draws on the stock one, where they mean the same."""

from typing import Any

import pytest
import torch
from diffusers.guiders import ClassifierFreeGuidance
from diffusers.modular_pipelines.stable_diffusion_xl import StableDiffusionXLAutoBlocks

import tiny_families
from closeness import near
from stanchion import load_guard
from stanchion.errors import GuardBypassed, GuardFailed, UnsupportedPipeline
from stanchion.integrations.guider import ConceptGuidance
from stanchion.integrations.steering import GUARDS

OPTIONS = {"prompt": "a photo of a knife", "num_inference_steps": 2, "height": 32, "width": 32, "output_type": "pt"}
SCALE = 5.0
STEERED = 2e-5  # SLD multiplies the rounding of a difference by 5000


@pytest.fixture(scope="module")
def stock() -> Any:
    pipe = tiny_families.pipeline("StableDiffusionXLPipeline")
    pipe.register_to_config(force_zeros_for_empty_prompt=False)
    return pipe


@pytest.fixture(scope="module")
def modular(stock: Any) -> Any:
    pipe = StableDiffusionXLAutoBlocks().init_pipeline()
    parts = {name: part for name, part in stock.components.items() if part is not None}
    pipe.update_components(**parts, force_zeros_for_empty_prompt=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def noise() -> torch.Tensor:
    return torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))


def draw(modular: Any, guider: Any) -> torch.Tensor:
    modular.update_components(guider=guider)
    drawn: torch.Tensor = modular(**OPTIONS, latents=noise(), output="images")
    return drawn


@pytest.mark.parametrize("guard", GUARDS)
def test_it_draws_what_the_attached_guard_draws(guard: str, modular: Any, stock: Any) -> None:
    drawn = draw(modular, ConceptGuidance.of(modular, "weapons", guard=guard, guidance_scale=SCALE))
    settings = {"localized": False} if guard == "trasce" else {}
    with load_guard(guard, concept="weapons", **settings).attach(stock) as attachment:
        output, _ = attachment.call(**OPTIONS, latents=noise(), guidance_scale=SCALE)
    assert near(drawn, output.images, spread=STEERED)
    assert not near(drawn, draw(modular, ClassifierFreeGuidance(guidance_scale=SCALE)), spread=1e-3)


def test_one_without_its_concept_draws_nothing(modular: Any, tmp_path: Any) -> None:
    guider = ConceptGuidance.of(modular, "weapons", settings={"preset": "weak"})
    guider.save_pretrained(tmp_path)
    for again in (guider.new(), ConceptGuidance.from_pretrained(tmp_path), ConceptGuidance(concept="weapons")):
        with pytest.raises(GuardFailed, match=r"of the concept there is nothing; make the guider by"):
            draw(modular, again)
    assert guider.new(guard="trasce", settings=None).steering.guard.name == "trasce"


def test_it_is_not_switched_off(modular: Any) -> None:
    guider = ConceptGuidance.of(modular, "weapons")
    with pytest.raises(GuardBypassed, match="this guider guards"):
        guider.disable()
    assert guider.num_conditions == 3


def test_text_that_it_does_not_know_is_refused(modular: Any) -> None:
    guider = ConceptGuidance.of(modular, "weapons")
    one = torch.zeros(1, 4, 64)
    with pytest.raises(GuardFailed, match="prompt_embeds_mask"):
        guider.prepare_inputs({"prompt_embeds": (one, one), "prompt_embeds_mask": (one, one)})
    with pytest.raises(GuardFailed, match="its guidance must be on"):
        guider.prepare_inputs({"prompt_embeds": (one, None)})
    with pytest.raises(GuardFailed, match="reads no text"):
        guider.prepare_inputs({"time_ids": (one, one)})


def test_models_of_velocity_have_no_sld(modular: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(modular.scheduler.config, "prediction_type", "v_prediction")
    with pytest.raises(UnsupportedPipeline, match="SLD's constants are for noise"):
        ConceptGuidance.of(modular, "weapons", guard="sld")
    with pytest.raises(UnsupportedPipeline, match="no block text_encoder"):
        ConceptGuidance.of(object(), "weapons", guard="trasce")
