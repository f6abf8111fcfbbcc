"""A guider for diffusers' modular pipelines: a trajectory guard in the slot for guidance.

What it can't prove stands in docs/integrations/guider.md: it is asked for a combination of predictions, and sees
neither that the denoiser made them nor that the scheduler used what it gave. ``attach`` proves both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from diffusers.configuration_utils import register_to_config
from diffusers.guiders import BaseGuidance
from diffusers.guiders.guider_utils import GuiderOutput
from diffusers.modular_pipelines import BlockState
from torch import Tensor

from ..concepts import load_concept
from ..errors import ConfigError, GuardBypassed, GuardFailed, UnsupportedPipeline
from .steering import Steering

PREDICTIONS = {"pred_cond": 0, "pred_uncond": 1, "pred_concept": 0}  # and which half of the inputs each is made from
TEXT = ("prompt_embeds", "text_embeds", "pooled_prompt_embeds")  # inputs that say the words; the others are shared
POOLED = "pooled_prompt_embeds"


class ConceptGuidance(BaseGuidance):
    """Guidance away from a concept, with three predictions a step.

    Made by ``ConceptGuidance.of(pipe, "weapons", guard="sld")`` and put in by ``pipe.update_components(guider=…)``.
    One that was made anew from its config (``new``, ``from_pretrained``) has no concept encoded, and refuses to work.

    Args:
        concept: a built-in name or a YAML file.
        guard: "negative_prompt", "sld" or "trasce" (without its loss).
        guidance_scale: s.
        settings: the guard's.
    """

    _input_predictions: ClassVar = list(PREDICTIONS)

    @register_to_config
    def __init__(
        self,
        *,
        concept: str,
        guard: str = "sld",
        guidance_scale: float = 7.5,
        settings: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.guidance_scale = guidance_scale
        self.steering = Steering(guard, concept, **(settings or {}))
        self.concept: dict[str, Tensor] = {}
        self._state_of: Any = None

    @classmethod
    def of(cls, pipe: Any, concept: str, **arguments: Any) -> ConceptGuidance:
        """The guider with the concept's text encoded by the pipeline's own text block.

        Raises:
            UnsupportedPipeline: the pipeline has no such block, or SLD is asked for on a model that predicts no noise.
        """
        made = cls(concept=concept, **arguments)
        scheduler = getattr(pipe, "scheduler", None)
        predicts = scheduler.config.get("prediction_type") if scheduler is not None else None
        if made.steering.guard.name == "sld" and predicts != "epsilon":
            raise UnsupportedPipeline(f"SLD's constants are for noise; this model predicts {predicts!r}.")
        made.concept = _encoded(pipe, load_concept(concept).text)
        return made

    def disable(self) -> None:
        """Raise: what guards is taken out openly, by another guider, or stays."""
        raise GuardBypassed("this guider guards; put another one in its place to draw without it.")

    def prepare_inputs(self, data: Mapping[str, Any]) -> list[Any]:
        """A batch of inputs for each prediction, from pairs of (conditional, unconditional) inputs."""
        return [self._batch(data, name, half) for name, half in PREDICTIONS.items()]

    def prepare_inputs_from_block_state(self, data: Any, input_fields: Mapping[str, Any]) -> list[Any]:
        """The same for pipelines that name the fields of their state."""
        pairs = {
            key: tuple(getattr(data, one, None) for one in field) if isinstance(field, tuple) else getattr(data, field)
            for key, field in input_fields.items()
        }
        return self.prepare_inputs(pairs)

    def _batch(self, data: Mapping[str, Any], name: str, half: int) -> Any:
        inputs = {key: value[half] if isinstance(value, tuple) else value for key, value in data.items()}
        if name == "pred_concept":
            inputs |= self._said(inputs)
        if any(inputs.get(key) is None for key in TEXT if key in inputs):
            raise GuardFailed(f"the pipeline gave no text states for {name}; its guidance must be on.")
        return BlockState(**inputs, **{self._identifier_key: name})

    def _said(self, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
        """The concept's states in place of the prompt's, as many rows.

        Raises:
            GuardFailed: nothing was encoded, or the pipeline reads text states that this guider does not know.
        """
        unknown = [key for key in inputs if "prompt" in key and key not in TEXT and inputs[key] is not None]
        wanted = [key for key in TEXT if inputs.get(key) is not None]
        if unknown or not wanted or not set(wanted) <= set(self.concept):
            raise GuardFailed(
                f"the pipeline reads {', '.join([*wanted, *unknown]) or 'no text'}, and of the concept there is "
                f"{', '.join(self.concept) or 'nothing'}; make the guider by ConceptGuidance.of(pipe, …)."
            )
        return {key: self.concept[key].to(inputs[key]).expand_as(inputs[key]) for key in wanted}

    def forward(self, pred_cond: Tensor, pred_uncond: Tensor, pred_concept: Tensor) -> Any:
        """The guided prediction."""
        if self._step is None:
            raise GuardFailed("the pipeline did not say which step this is (set_state).")
        if self._step == 0 or self._state_of is None:
            self._state_of = self.steering.begin()
        place = {"index": self._step, "total": self._num_inference_steps, "scale": self.guidance_scale}
        pred = self.steering.noise(self._state_of, pred_uncond, pred_cond, pred_concept, **place)
        return GuiderOutput(pred=pred.to(pred_cond.dtype), pred_cond=pred_cond, pred_uncond=pred_uncond)

    @property
    def is_conditional(self) -> bool:
        """Whether the prediction that is due is one with a text: the first and the third."""
        return self._count_prepared != 2

    @property
    def num_conditions(self) -> int:
        """Three, in every step."""
        return len(PREDICTIONS)


def _encoded(pipe: Any, text: str) -> dict[str, Tensor]:
    """A text's states under the names of the denoiser's inputs."""
    block = getattr(getattr(pipe, "blocks", None), "sub_blocks", {}).get("text_encoder")
    if block is None:
        raise UnsupportedPipeline(f"{type(pipe).__name__} has no block text_encoder that a concept is encoded with.")
    part = block.init_pipeline()
    part.update_components(**{name: getattr(pipe, name) for name in part.component_names if hasattr(pipe, name)})
    state = part(prompt=text)
    found = {name: state.get(name) for name in ("prompt_embeds", POOLED)}
    states = {name: value for name, value in found.items() if isinstance(value, Tensor)}
    if "prompt_embeds" not in states:
        raise ConfigError(f"{type(block).__name__} gave no prompt_embeds for {text!r}.")
    return {**states, **({"text_embeds": states[POOLED]} if POOLED in states else {})}
