"""Z-Image: lists of latents and captions, [prompt; negative] in one pass, the prediction's sign turned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...types import Condition
from ._needs import FLOW
from ._tokens import prompt_and_negative
from .base import Family, Pass, Place, Said, pick


class ZImage(Family):
    """s is 1 + ``guidance_scale``. ``encode_prompt`` writes its template into the list of texts: it gets a copy."""

    name = "z_image"
    title = "Z-Image"
    variants: ClassVar[Mapping[str, str]] = {"trajectory": FLOW}
    classes = ("ZImagePipeline", "ZImageImg2ImgPipeline", "ZImageInpaintPipeline")
    encoding = ("max_sequence_length",)
    offers = ("maps",)
    sample = "x"
    conditions = ("cap_feats",)
    rowed = ("t",)
    inputs = ("patch_size", "f_patch_size")
    halves = ("prompt", "negative")
    guidance = "give guidance_scale above 0"

    def refuses(self, kind: str) -> Mapping[str, str]:
        """Every caption has a length of its own, and a guard of texts works on (B, L, D)."""
        return {"text": "its prompts are a list of states, each of its own length, inside a chat template"}

    def guided(self, pipe: Any, arguments: Mapping[str, Any]) -> bool:
        return float(arguments.get("guidance_scale") or 0.0) > 0.0

    def time(self, one: Pass, denoiser: Any) -> float:
        return 1000.0 - 1000.0 * float(one.inputs["t"].flatten()[0])

    def scale(self, pipe: Any, arguments: Mapping[str, Any], roles: Mapping[str, Any], timestep: float) -> float:
        return 1.0 + float(pipe.guidance_scale) if "negative" in roles else 1.0

    def finish(self, pipe: Any, arguments: Mapping[str, Any], guided: Tensor, prompt: Tensor) -> Tensor:
        if not (limit := float(pipe._cfg_normalization)):
            return guided
        own, new = prompt.flatten(1).norm(dim=1), guided.flatten(1).norm(dim=1)
        return guided * (limit * own / new).clamp(max=1)[:, None, None, None]

    def encode(self, pipe: Any, texts: Sequence[str], arguments: Mapping[str, Any]) -> Condition:
        states, _ = pipe.encode_prompt(list(texts), do_classifier_free_guidance=False, **self.options(arguments))
        return Condition(states)

    def text_states(self, outputs: Sequence[Any], arguments: Mapping[str, Any], calls: int) -> list[Said]:
        return prompt_and_negative(outputs, arguments)

    def copies(self, arguments: Mapping[str, Any]) -> int:
        return int(arguments.get("num_images_per_prompt") or 1)

    def put(self, one: Pass, conditions: Sequence[Condition], sample: Tensor, rows: Tensor | None = None) -> Pass:
        latents = list(sample.to(one.inputs["x"][0].dtype).unsqueeze(2))
        captions = [text for condition in conditions for text in _captions(condition.embeds, len(sample), rows)]
        times = pick(one.inputs["t"][one.rows], rows)
        own = {"x": latents * len(conditions), "t": torch.cat([times] * len(conditions)), "cap_feats": captions}
        return replace(one, inputs={**one.inputs, **own}, rows=slice(None), pictures=rows)

    def condition(self, one: Pass) -> Condition:
        """Own copies, to which no callback writes."""
        return Condition([caption.clone() for caption in one.inputs["cap_feats"][one.rows]])

    def fits_together(self, first: Condition, second: Condition) -> bool:
        return True

    def outputs(self, answer: Any, latents: Tensor, count: int) -> list[Tensor]:
        stacked = torch.stack([one.float() for one in answer[0]]).squeeze(2)
        return list((-stacked).chunk(count))

    def blank(self, one: Pass, denoiser: Any) -> list[Tensor]:
        return [torch.ones_like(latents) for latents in one.inputs["x"]]

    def text_projections(self, denoiser: Any, which: Sequence[str]) -> list[Place]:
        """Layers of the joint stream, [picture; caption]; the refiners before have not seen the picture."""
        return [
            Place(f"layers.{i}.attention", one, getattr(layer.attention, f"to_{one}"), "last", once=False)
            for i, layer in enumerate(denoiser.layers)
            for one in which
        ]

    def text_rows(self, place: Place, inputs: Mapping[str, Any]) -> slice:
        """Behind the picture's tokens, patches of 2 x 2, which are padded to a multiple of 32."""
        frames, height, width = inputs["x"][0].shape[1:]
        patches = frames * (height // 2) * (width // 2)
        return slice(-(-patches // 32) * 32, None)


def _captions(states: Any, count: int, rows: Tensor | None) -> list[Tensor]:
    if len(states) == 1:
        return [states[0]] * count
    return [states[int(row)] for row in rows] if rows is not None else list(states)
