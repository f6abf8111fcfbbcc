"""What is known about each family of pipelines. A pipeline that no family knows is refused, not guessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import diffusers
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg
from torch import Tensor

from ..errors import UnsupportedPipeline


@dataclass(frozen=True)
class Family:
    """Pipelines that arrange classifier-free guidance as one batch ``[negative; prompt]`` around a denoiser.

    Attributes:
        name: how messages call the family.
        classes: names of its diffusers classes; subclasses are not of the family, for their loop may differ.
        denoiser: attribute of the pipeline that holds the denoiser.
        modules: attributes that must stay the same objects while a guard is attached.
        callbacks: arguments of a call that are the caller's own code, run between its steps.
        inputs: what the denoiser may be given beside latents, timestep and text states.
        attention: what its attention processors may be given.
        pictured: the beginnings of the paths of what turns latents into pictures.
    """

    name: str
    classes: tuple[str, ...]
    denoiser: str = "unet"
    modules: tuple[str, ...] = ("unet", "vae", "text_encoder")
    callbacks: tuple[str, ...] = ("callback_on_step_end", "callback")
    inputs: tuple[str, ...] = ("timestep_cond", "cross_attention_kwargs")
    attention: tuple[str, ...] = ("scale",)
    pictured: tuple[str, ...] = ("vae.decoder.", "vae.post_quant_conv.")

    def drawn_with(self, output_type: str | None) -> tuple[str, ...]:
        """The beginnings of the paths of the modules without which no picture of this type is made."""
        return (f"{self.denoiser}.", *(() if output_type == "latent" else self.pictured))

    def check_call(self, arguments: Mapping[str, Any]) -> None:
        """Refuse arguments whose conditions a guard can't carry over to its own predictions."""
        for name in ("ip_adapter_image", "ip_adapter_image_embeds"):
            if arguments.get(name) is not None:
                raise UnsupportedPipeline(
                    f"{name} is given, but guards know text conditions only: an image prompt would go past them. "
                    "Leave it out, or detach the guard."
                )
        self._check_attention(arguments.get("cross_attention_kwargs"))

    def check_inputs(self, inputs: Mapping[str, Any]) -> None:
        """Refuse a pass of the denoiser that is given a condition which no seam knows.

        Raises:
            UnsupportedPipeline: with the input's name.
        """
        for name, value in inputs.items():
            if value is not None and name not in self.inputs:
                raise UnsupportedPipeline(f"the denoiser was given {name}, and no seam knows that condition.")
        self._check_attention(inputs.get("cross_attention_kwargs"))

    def _check_attention(self, given: Mapping[str, Any] | None) -> None:
        for name in given or ():
            if name not in self.attention:
                raise UnsupportedPipeline(
                    f"cross_attention_kwargs holds {name!r}, a condition that would go past the guards (GLIGEN's "
                    f"phrases come so): only {', '.join(self.attention)} may be given. Leave it out, or detach the "
                    "guard."
                )

    def halves(self, pipe: Any) -> int:
        """2 where the next denoiser pass holds [negative; prompt], 1 where guidance is off."""
        return 2 if pipe.do_classifier_free_guidance else 1

    def guidance_scale(self, pipe: Any) -> float:
        """The guidance scale that takes effect: 1.0 where guidance is off."""
        return float(pipe.guidance_scale) if self.halves(pipe) == 2 else 1.0

    def lay_out(self, pipe: Any, guided: Tensor, prompt_prediction: Tensor | None) -> Tensor:
        """A denoiser output from which the pipeline's own arithmetic gives exactly ``guided``.

        Both halves are the same, so u + s (c - u) is that half whatever s is. ``guidance_rescale``
        (arXiv 2305.08891, section 3.4) compares with the prompt's prediction, so it is done here; on two equal
        halves the pipeline's own rescaling changes nothing more.
        """
        if self.halves(pipe) == 1:
            return guided
        rescale = getattr(pipe, "guidance_rescale", 0.0)
        if rescale > 0.0 and prompt_prediction is not None:
            guided = rescale_noise_cfg(guided, prompt_prediction, guidance_rescale=rescale)
        return torch.cat([guided, guided])


FAMILIES = (
    Family(
        "Stable Diffusion 1.x",
        ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"),
    ),
)


def family_of(pipe: Any) -> Family:
    """The family of a pipeline.

    Raises:
        UnsupportedPipeline: no family knows its class, or its denoiser takes conditions that none knows.
    """
    for family in FAMILIES:
        if any(type(pipe) is getattr(diffusers, name) for name in family.classes):
            _check_denoiser(getattr(pipe, family.denoiser))
            return family
    known = ", ".join(name for family in FAMILIES for name in family.classes)
    raise UnsupportedPipeline(
        f"{type(pipe).__name__} can't be guarded: no seam knows how it draws. Supported are {known} "
        "(these classes themselves, not subclasses)."
    )


def _check_denoiser(denoiser: Any) -> None:
    module = getattr(denoiser, "_orig_mod", denoiser)
    if module is not denoiser or getattr(denoiser, "_compiled_call_impl", None) is not None:
        raise UnsupportedPipeline(
            "the denoiser was compiled as a whole before the guard came, so the guard would not be compiled in. "
            "Attach first, then pipe.unet.compile(), or use pipe.unet.compile_repeated_blocks() at any time."
        )
    if not isinstance(module, diffusers.UNet2DConditionModel):
        raise UnsupportedPipeline(f"the denoiser is a {type(module).__name__}; this family needs UNet2DConditionModel.")
    for key in ("addition_embed_type", "encoder_hid_dim", "class_embed_type", "num_class_embeds"):
        if module.config.get(key) is not None:
            raise UnsupportedPipeline(
                f"the denoiser takes conditions besides the text ({key}={module.config[key]!r}); "
                "guards know text conditions only."
            )
