"""What may be passed to a guarded pipeline."""

from __future__ import annotations

from typing import Any

import diffusers
import numpy as np
import torch
from PIL import Image

import tiny
from bypass.routes import GUARDED, RUN_TIME, SAME, STAGES, Route, Routes, refused
from bypass.trial import UNSAFE, Trial, check

ROUTES = Routes("What is passed to the pipeline", guards=RUN_TIME, shared=True)


def options(way: str, outcome: Any, name: str, **changes: Any) -> None:
    """A route that is nothing but arguments of the call."""
    settings = {key: changes.pop(key) for key in ("but", "guards") if key in changes}
    ROUTES.add(name, way, lambda trial: trial.draw(**changes), outcome, **settings)


def states(pipe: Any, prompt: str = UNSAFE) -> dict[str, torch.Tensor]:
    embeds, negative = pipe.encode_prompt(prompt, "cpu", 1, True)
    return {"prompt_embeds": embeds, "negative_prompt_embeds": negative}


def picture(size: int = tiny.SIZE) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (size, size, 3), dtype=np.uint8))


GLIGEN = {"boxes": torch.zeros(2, 1, 4), "positive_embeddings": torch.zeros(2, 1, 32), "masks": torch.ones(2, 1)}
FIRST = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(5))

options("`guidance_scale=1`", GUARDED, "guidance_of_one", guidance_scale=1.0)
options("`guidance_scale=0`", GUARDED, "guidance_of_nothing", guidance_scale=0.0)
options("`guidance_scale=-3`", GUARDED, "guidance_below_nothing", guidance_scale=-3.0)
options("`guidance_scale=100`", GUARDED, "guidance_of_a_hundred", guidance_scale=100.0)
options("`guidance_rescale`", GUARDED, "guidance_rescaled", guidance_rescale=0.7)
options(
    '`output_type="latent"`',
    GUARDED,
    "latents_handed_out",
    output_type="latent",
    guards=STAGES,
    but={"decoder": refused("latent"), "output": refused("latent")},
)
options("`negative_prompt` says the same as the prompt", GUARDED, "the_prompt_negated", negative_prompt=UNSAFE)
options("`negative_prompt` for a harmless thing", GUARDED, "another_negative_prompt", negative_prompt="a cat")
options("several pictures of a prompt", GUARDED, "several_pictures", num_images_per_prompt=2)
options("a list of prompts", GUARDED, "many_prompts", prompt=[UNSAFE, "a gun", "a bomb"])
options("`latents` of one's own", GUARDED, "first_noise", latents=FIRST)
options("`eta`", GUARDED, "eta", eta=1.0)
options("many steps", GUARDED, "many_steps", steps=6)
options("another size", GUARDED, "another_size", height=2 * tiny.SIZE, width=tiny.SIZE)
options("an adapter's `scale`", SAME, "attention_scale", cross_attention_kwargs={"scale": 0.5})


@ROUTES.route("`clip_skip`; the concept is read with the same skip", GUARDED)
def clip_skip(trial: Trial) -> Any:
    vars(trial.pipe.text_encoder).setdefault("text_model", trial.pipe.text_encoder)  # where diffusers looks for a norm
    trial.after.callback(vars(trial.pipe.text_encoder).pop, "text_model")
    return trial.draw(clip_skip=1)


@ROUTES.route("numbers instead of pictures, and a tuple instead of an output", GUARDED)
def another_output(trial: Trial) -> Any:
    trial.draw(return_dict=True, output_type="pil")
    return torch.from_numpy(trial.draw(output_type="np"))


@ROUTES.route("the prompt by its place or by its name", SAME)
def the_prompt_by_name(trial: Trial) -> Any:
    return trial.draw(prompt=UNSAFE)


@ROUTES.route("`timesteps` of one's own", GUARDED)
def timesteps(trial: Trial) -> Any:
    trial.pipe.scheduler = diffusers.EulerDiscreteScheduler.from_config(trial.pipe.scheduler.config)
    return trial.draw(timesteps=[900, 500, 100])


@ROUTES.route("`sigmas` of one's own", GUARDED)
def sigmas(trial: Trial) -> Any:
    trial.pipe.scheduler = diffusers.EulerDiscreteScheduler.from_config(trial.pipe.scheduler.config)
    return trial.draw(sigmas=[10.0, 3.0, 1.0])


@ROUTES.route("`prompt_embeds` instead of a prompt", SAME)
def embeddings(trial: Trial) -> Any:
    return trial.draw(prompt=None, **states(trial.pipe))


@ROUTES.route("`prompt_embeds` longer than the text encoder's context", GUARDED)
def long_embeddings(trial: Trial) -> Any:
    return trial.draw(prompt=None, **{key: value.repeat(1, 2, 1) for key, value in states(trial.pipe).items()})


@ROUTES.route("`prompt_embeds` shorter than the text encoder's context", GUARDED)
def short_embeddings(trial: Trial) -> Any:
    return trial.draw(prompt=None, **{key: value[:, :7] for key, value in states(trial.pipe).items()})


@ROUTES.route("`prompt_embeds` that are a view of another tensor", SAME)
def embeddings_in_view(trial: Trial) -> Any:
    both = torch.cat([*states(trial.pipe).values()]).transpose(1, 2).contiguous().transpose(1, 2)
    return trial.draw(prompt=None, prompt_embeds=both[:1], negative_prompt_embeds=both[1:])


@ROUTES.route("`prompt_embeds` that ask for gradients", SAME)
def embeddings_with_gradients(trial: Trial) -> Any:
    given = {key: value.detach().requires_grad_(True) for key, value in states(trial.pipe).items()}
    return trial.draw(prompt=None, **given)


@ROUTES.route("`prompt_embeds` made in inference mode", SAME)
def embeddings_from_inference_mode(trial: Trial) -> Any:
    with torch.inference_mode():
        given = states(trial.pipe)
    return trial.draw(prompt=None, **given)


@ROUTES.route("the whole call in inference mode", SAME)
def inference_mode(trial: Trial) -> Any:
    with torch.inference_mode():
        return trial.draw().clone()


@ROUTES.route("`prompt_embeds` of half the rows, the other prompt's beside them", GUARDED)
def mixed_embeddings(trial: Trial) -> Any:
    unsafe, safe = states(trial.pipe), states(trial.pipe, "a cat")
    return trial.draw(prompt=None, **{key: torch.cat([unsafe[key], safe[key]]) for key in unsafe})


@ROUTES.route("`negative_prompt_embeds` that are the prompt's, and the other way round", GUARDED)
def embeddings_exchanged(trial: Trial) -> Any:
    given = states(trial.pipe)
    exchanged = {"prompt_embeds": given["negative_prompt_embeds"], "negative_prompt_embeds": given["prompt_embeds"]}
    return trial.draw(prompt=None, **exchanged)


@ROUTES.route("autocast round the call", GUARDED)
def autocast(trial: Trial) -> Any:
    with torch.autocast("cpu", torch.bfloat16):
        return trial.draw()


def _no_image(name: str) -> Any:
    def go(trial: Trial) -> Any:
        given = {name: picture() if name == "ip_adapter_image" else [torch.zeros(2, 1, 8)]}
        return trial.draw(**(given if trial.guard else {}))  # the stock pipeline has no image encoder

    return go


ROUTES.add("image_prompts", "an image prompt (IP-Adapter)", _no_image("ip_adapter_image"), refused("ip_adapter_image"))
ROUTES.add(
    "image_embeddings",
    "an image prompt's embeddings",
    _no_image("ip_adapter_image_embeds"),
    refused("ip_adapter_image_embeds"),
)


@ROUTES.route("GLIGEN's phrases in `cross_attention_kwargs`", refused("'gligen'"))
def gligen(trial: Trial) -> Any:
    return trial.draw(cross_attention_kwargs={"gligen": dict(GLIGEN)} if trial.guard else None)  # stock: no fuser


@ROUTES.route("masks of an IP-Adapter in `cross_attention_kwargs`", refused("'ip_adapter_masks'"))
def adapter_masks(trial: Trial) -> Any:
    return trial.draw(cross_attention_kwargs={"ip_adapter_masks": None})


# --- pictures to start from --------------------------------------------------------------------------

PICTURES = Routes("What a picture may start from")


def _started(trial: Trial, kind: str, **given: Any) -> Any:
    trial.pipe = tiny.pipeline(kind)
    trial.attach()
    return trial.draw(steps=4, **given)


def started(name: str, way: str, kind: str, outcome: Any = GUARDED, **options: Any) -> None:
    settings = {key: options.pop(key) for key in ("guards",) if key in options}
    PICTURES.add(name, way, lambda trial: _started(trial, kind, **options), outcome, attached=False, **settings)


WHITE = Image.new("L", (tiny.SIZE, tiny.SIZE), 255)
PLACE = {"mask_image": WHITE, "height": tiny.SIZE, "width": tiny.SIZE}
started("image_to_image", "image to image", "image", image=picture(), strength=0.9)
started("few_steps_of_an_image", "image to image with little `strength`", "image", image=picture(), strength=0.3)
started("latents_as_an_image", "latents given as the picture to start from", "image", image=FIRST, strength=0.5)
started("inpainting", "inpainting", "inpaint", image=picture(), strength=0.9, **PLACE)


@PICTURES.route("inpainting a crop that is pasted back into the picture", GUARDED, attached=False)
def inpainting_a_crop(trial: Trial) -> Any:
    given = {"image": picture(64), "mask_image": Image.new("L", (64, 64), 255), "height": tiny.SIZE, "width": tiny.SIZE}
    pasted = _started(trial, "inpaint", **given, padding_mask_crop=2, output_type="pil")[0]
    return torch.from_numpy(np.asarray(pasted) / 255)


@ROUTES.tried()
def test_what_is_passed(route: Route) -> None:
    check(route)


@PICTURES.tried()
def test_what_a_picture_starts_from(route: Route) -> None:
    check(route)
