"""What is known about each family of pipelines. A pipeline that no family knows is refused, not guessed."""

from __future__ import annotations

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
    """

    name: str
    classes: tuple[str, ...]
    denoiser: str = "unet"
    modules: tuple[str, ...] = ("unet", "vae", "text_encoder")

    def check_call(self, arguments: dict[str, Any]) -> None:
        """Refuse arguments whose conditions a guard can't carry over to its own predictions."""
        for name in ("ip_adapter_image", "ip_adapter_image_embeds"):
            if arguments.get(name) is not None:
                raise UnsupportedPipeline(
                    f"{name} is given, but guards know text conditions only: an image prompt would go past them. "
                    "Leave it out, or detach the guard."
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
    for key in ("addition_embed_type", "encoder_hid_dim", "class_embed_type"):
        if module.config.get(key) is not None:
            raise UnsupportedPipeline(
                f"the denoiser takes conditions besides the text ({key}={module.config[key]!r}); "
                "guards know text conditions only."
            )
