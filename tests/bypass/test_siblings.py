"""Other objects that could draw with a guarded pipeline's modules, or with what is left of them."""

from __future__ import annotations

import copy
import inspect
import io
import pickle
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

import diffusers
import torch
from diffusers.models.controlnets.controlnet_xs import ControlNetXSAdapter, UNetControlNetXSModel
from diffusers.training_utils import EMAModel

import tiny
from bypass.routes import GUARDED, RUN_TIME, SAME, STAGES, OutOfScope, Raised, Route, Routes, bypassed
from bypass.test_arguments import PLACE, picture
from bypass.test_modules import inputs
from bypass.trial import STEPS, UNSAFE, Trial, check
from stanchion import AlreadyAttached, UnsupportedPipeline

ROUTES = Routes("Other objects with the same modules", guards=("text",))
OUTSIDE = bypassed("outside a guarded call")
READ = OutOfScope("whoever has the process can read the weights")


def quiet(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    return pipe


# --- pipelines ---------------------------------------------------------------------------------------


def sibling(pipe: Any, kind: str = "StableDiffusionPipeline", **parts: Any) -> Any:
    """A pipeline of a class of diffusers' own, with the modules of another."""
    made = getattr(diffusers, kind)
    names = ("vae", "text_encoder", "tokenizer", "unet", "scheduler")
    empty = {"safety_checker": None, "feature_extractor": None, "image_encoder": None, "requires_safety_checker": False}
    empty = {name: value for name, value in empty.items() if name in inspect.signature(made.__init__).parameters}
    return quiet(made(**{**{name: getattr(pipe, name) for name in names}, **empty, **parts}))


def _started(pipe: Any, name: str) -> tuple[Any, dict[str, Any]]:
    made = getattr(diffusers, name).from_pipe(pipe, torch_dtype=pipe.dtype)
    options = {"image": picture(), "strength": 0.9, "steps": 4}
    return made, options | (PLACE if "Inpaint" in name else {})


def _from_pipe(name: str, *, guarded: bool) -> Any:
    def go(trial: Trial) -> Any:
        made, options = _started(trial.pipe, name)
        if guarded:
            trial.attach(made)
        return trial.draw(made, **options)

    return go


for name, what in (
    ("StableDiffusionImg2ImgPipeline", "image to image"),
    ("StableDiffusionInpaintPipeline", "inpainting"),
):
    way = f"`from_pipe`: {what} with the same modules"
    ROUTES.add(f"{what.replace(' ', '_')}_unguarded", way, _from_pipe(name, guarded=False), OUTSIDE, guards=STAGES)
    way = f"`from_pipe`: {what} with a guard of its own"
    ROUTES.add(f"{what.replace(' ', '_')}_guarded", way, _from_pipe(name, guarded=True), GUARDED, guards=STAGES)


@ROUTES.route("`AutoPipelineForText2Image.from_pipe`", OUTSIDE)
def found_by_task(trial: Trial) -> Any:
    auto = diffusers.AutoPipelineForText2Image.from_pipe(trial.pipe, torch_dtype=trial.pipe.dtype)
    return trial.draw(auto)


@ROUTES.route("the stock class, made anew of the same modules", OUTSIDE)
def stock_class_anew(trial: Trial) -> Any:
    return trial.draw(sibling(trial.pipe))


@ROUTES.route("a subclass of one's own, made of the same modules", OUTSIDE)
def a_subclass(trial: Trial) -> Any:
    class Own(diffusers.StableDiffusionPipeline):
        pass

    return trial.draw(quiet(Own(**trial.pipe.components, requires_safety_checker=False)))


def _guarded_subclass(trial: Trial, **own: Any) -> Any:
    kind: Any = type("Own", (diffusers.StableDiffusionPipeline,), own)
    made = quiet(kind(**trial.pipe.components, requires_safety_checker=False))
    trial.attach(made)
    return trial.draw(made)


@ROUTES.route("a guard on a subclass of one's own", SAME, attached=False)
def a_guarded_subclass(trial: Trial) -> Any:
    return _guarded_subclass(trial)


@ROUTES.route("a guard on one that overrides `encode_prompt`", Raised(UnsupportedPipeline, "overrides"), attached=False)
def a_guarded_subclass_of_its_own_mind(trial: Trial) -> Any:
    stock = diffusers.StableDiffusionPipeline.encode_prompt
    return _guarded_subclass(trial, encode_prompt=lambda *args, **kwargs: stock(*args, **kwargs))


@ROUTES.route("a second guard on the pipeline", Raised(AlreadyAttached))
def a_second_guard(trial: Trial) -> Any:
    trial.attach()
    return trial.draw()


for name in ("StableDiffusionPAGPipeline", "StableDiffusionSAGPipeline", "StableDiffusionPanoramaPipeline"):
    size = {"height": 64, "width": 64} if "Panorama" in name else {}
    go = lambda trial, name=name, size=size: trial.draw(sibling(trial.pipe, name), **size)  # noqa: E731
    ROUTES.add(name, f"`{name}` of the same modules", go, OUTSIDE)


@ROUTES.route("the stock class's `__call__` on the guarded object", OUTSIDE, guards=RUN_TIME)
def stock_call(trial: Trial) -> Any:
    options = {"num_inference_steps": STEPS, "output_type": "pt", "generator": torch.Generator().manual_seed(0)}
    return diffusers.StableDiffusionPipeline.__call__(trial.pipe, UNSAFE, **options).images


@ROUTES.route("`type(pipe).__call__(pipe, …)`", SAME, guards=STAGES, shared=True)
def call_of_the_class(trial: Trial) -> Any:
    options = {"num_inference_steps": STEPS, "output_type": "pt", "generator": torch.Generator().manual_seed(0)}
    trial.last = trial.attachment
    return type(trial.pipe).__call__(trial.pipe, UNSAFE, **options).images


@ROUTES.route("a new pipeline of the guarded object's class", bypassed("attach one to it"))
def swapped_class(trial: Trial) -> Any:
    return trial.draw(quiet(type(trial.pipe)(**tiny.parts(seed=1))))


@ROUTES.route("the guarded object's class given to another pipeline", bypassed("attach one to it"))
def swapped_class_given_away(trial: Trial) -> Any:
    other = tiny.pipeline(seed=1)
    other.__class__ = type(trial.pipe)
    return trial.draw(other)


def _loaded(trial: Trial, kind: Callable[[Trial], Any]) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        trial.pipe.save_pretrained(folder)
        loaded = kind(trial).from_pretrained(folder)
        assert type(loaded) is kind(trial) or type(loaded) is diffusers.StableDiffusionPipeline
        return trial.draw(quiet(loaded))


ROUTES.add("saved_and_loaded", "`save_pretrained`, and loading that",
           partial(_loaded, kind=lambda trial: diffusers.DiffusionPipeline),
           OutOfScope("what is on disk is the stock pipeline, and doesn't pretend to be guarded"))  # fmt: skip
ROUTES.add("saved_and_loaded_by_its_class", "`type(pipe).from_pretrained`",
           partial(_loaded, kind=lambda trial: type(trial.pipe)), bypassed("attach one to it"))  # fmt: skip


@ROUTES.route("`save_pretrained` of a pipeline with hardened weights", GUARDED, guards=("weights",))
def saved_hardened(trial: Trial) -> Any:
    drawn = trial.draw()
    picture = _loaded(trial, lambda trial: diffusers.DiffusionPipeline)
    trial.last = trial.attachment
    assert torch.allclose(drawn, picture, atol=1e-5)
    return picture


# --- copies ------------------------------------------------------------------------------------------

COPIED = bypassed("detach, copy")


def _through_pickle(one: Any) -> Any:
    return pickle.loads(pickle.dumps(one))


def _through_torch(one: Any) -> Any:
    torch.save(one, file := io.BytesIO())
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    "pickle": _through_pickle,
    "torch.save": _through_torch,
}
for name, make in COPIES.items():
    go = lambda trial, make=make: trial.draw(quiet(make(trial.pipe)))  # noqa: E731
    ROUTES.add(f"pipeline_by_{name.replace('.', '_')}", f"`{name}` of the pipeline", go, COPIED)
    go = lambda trial, make=make: make(trial.pipe.unet)(*inputs()).sample  # noqa: E731
    outcome = OUTSIDE if "copy" in name else Raised((AttributeError, pickle.PicklingError))
    ROUTES.add(f"denoiser_by_{name.replace('.', '_')}", f"`{name}` of the denoiser", go, outcome)


@ROUTES.route("a copied denoiser in another pipeline", OUTSIDE)
def copied_denoiser_elsewhere(trial: Trial) -> Any:
    other = tiny.pipeline(seed=1)
    other.unet = copy.deepcopy(trial.pipe.unet)
    return trial.draw(other)


@ROUTES.route("a copied decoder", OUTSIDE, guards=("decoder",))
def copied_decoder(trial: Trial) -> Any:
    return copy.deepcopy(trial.pipe.vae).decode(torch.ones(1, 4, 8, 8)).sample


# --- models that are built out of the weights --------------------------------------------------------

REBUILT = bypassed("detach first")


def _motion() -> Any:
    return diffusers.MotionAdapter(
        block_out_channels=(16, 32), motion_layers_per_block=1, motion_num_attention_heads=2, motion_norm_num_groups=8
    )


@ROUTES.route("AnimateDiff of the same modules", REBUILT, guards=("text", "decoder"))
def animated(trial: Trial) -> Any:
    return sibling(trial.pipe, "AnimateDiffPipeline", motion_adapter=_motion()).unet.conv_in.weight.detach()


@ROUTES.route("`AnimateDiffPipeline.from_pipe`", REBUILT)
def animated_from_pipe(trial: Trial) -> Any:
    return diffusers.AnimateDiffPipeline.from_pipe(trial.pipe, motion_adapter=_motion()).unet.conv_in.weight.detach()


@ROUTES.route("`UNetMotionModel.from_unet2d`", REBUILT)
def motion_model(trial: Trial) -> Any:
    return diffusers.UNetMotionModel.from_unet2d(trial.pipe.unet, _motion()).conv_in.weight.detach()


@ROUTES.route("`ControlNetModel.from_unet`", REBUILT)
def control_net(trial: Trial) -> Any:
    return diffusers.ControlNetModel.from_unet(trial.pipe.unet, conditioning_channels=3).conv_in.weight.detach()


@ROUTES.route("ControlNet-XS of the denoiser", REBUILT, attached=False)
def control_net_xs(trial: Trial) -> Any:
    kind = type(trial.pipe.unet)
    trial.pipe.unet = kind.from_config({**trial.pipe.unet.config, "layers_per_block": 2})  # it knows no others
    trial.attach()
    other = kind.from_config(trial.pipe.unet.config)
    adapter = ControlNetXSAdapter.from_unet(other, size_ratio=0.5, num_attention_heads=2)
    return UNetControlNetXSModel.from_unet(trial.pipe.unet, adapter).base_conv_in.weight.detach()


def _drawn_with(trial: Trial, unet: Any) -> Any:
    other = tiny.pipeline()
    other.unet = unet
    return trial.draw(other)


@ROUTES.route("the denoiser's whole `state_dict` in another model", READ)
def whole_state(trial: Trial) -> Any:
    unet = type(trial.pipe.unet).from_config(trial.pipe.unet.config)
    unet.load_state_dict(trial.pipe.unet.state_dict())
    return _drawn_with(trial, unet.eval())


@ROUTES.route("the state of one of the denoiser's parts", REBUILT)
def state_of_a_part(trial: Trial) -> Any:
    return trial.pipe.unet.mid_block.state_dict()["resnets.0.conv1.weight"]


@ROUTES.route("the denoiser saved and loaded", READ)
def denoiser_saved(trial: Trial) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        trial.pipe.unet.save_pretrained(folder)
        return _drawn_with(trial, type(trial.pipe.unet).from_pretrained(folder))


@ROUTES.route("a moving average of the denoiser's parameters", READ)
def moving_average(trial: Trial) -> Any:
    unet = tiny.pipeline(seed=1).unet
    EMAModel(trial.pipe.unet.parameters()).copy_to(unet.parameters())
    return _drawn_with(trial, unet)


@ROUTES.route("the denoiser's blocks in another denoiser", READ)
def blocks_elsewhere(trial: Trial) -> Any:
    unet = tiny.pipeline(seed=1).unet
    for name, part in trial.pipe.unet.named_children():
        setattr(unet, name, part)
    return _drawn_with(trial, unet)


@ROUTES.route("a trace of the denoiser (`torch.jit.trace`)", OUTSIDE)
def traced(trial: Trial) -> Any:
    latents, _, states = given = inputs()
    if trial.guard is None:
        return trial.pipe.unet(*given).sample
    given = (latents, torch.tensor(1), states)
    return torch.jit.trace(lambda *given: trial.pipe.unet(*given).sample, given)(*given)


@ROUTES.route("an exported denoiser (`torch.export`)", OUTSIDE)
def exported(trial: Trial) -> Any:
    if trial.guard is None:
        return trial.pipe.unet(*inputs()).sample
    return torch.export.export(trial.pipe.unet, inputs(), strict=False).module()(*inputs()).sample


@ROUTES.tried()
def test_with_the_same_modules(route: Route) -> None:
    check(route)
