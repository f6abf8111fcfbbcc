"""What code may be put in the place of a guarded pipeline's, over it or beside it, between calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffusers
import torch
from accelerate.hooks import AlignDevicesHook, ModelHook, SequentialHook, add_hook_to_module
from diffusers.hooks import HookRegistry
from diffusers.hooks import ModelHook as HookOfDiffusers

import tiny
from bypass.routes import GUARDED, RUN_TIME, SAME, STAGES, OutOfScope, Route, Routes, bypassed
from bypass.test_callbacks import adapter
from bypass.test_modules import inputs
from bypass.trial import UNSAFE, Trial, check

ROUTES = Routes("What other code is put in between calls", guards=("text",))


# --- other code --------------------------------------------------------------------------------------


def _other_method(path: str) -> Any:
    root, _, rest = path.partition(".")
    rest, _, method = rest.rpartition(".")

    def go(trial: Trial) -> Any:
        own, foreign = (getattr(pipe, root).get_submodule(rest) for pipe in (trial.pipe, tiny.pipeline(seed=1)))
        setattr(own, method, getattr(foreign, method))
        return trial.draw()

    return go


for path in ("unet.forward", "unet.mid_block.forward", "vae.decode", "vae.decoder.forward", "text_encoder.forward"):
    name, outcome = f"another_{path.replace('.', '_')}", bypassed(f"{path} was replaced")
    ROUTES.add(name, f"`pipe.{path}` of another pipeline", _other_method(path), outcome, guards=("text", "weights"))


@ROUTES.change("`pipe.encode_prompt` of another pipeline", bypassed("encode_prompt was replaced"))
def another_encode_prompt(pipe: Any) -> None:
    pipe.encode_prompt = tiny.pipeline(seed=1).encode_prompt


@ROUTES.change("`pipe.encode_prompt` that adds to the prompt", bypassed("encode_prompt was replaced"))
def encode_prompt_that_adds(pipe: Any) -> None:
    own = pipe.encode_prompt
    pipe.encode_prompt = lambda prompt, *args, **kwargs: own(f"{prompt}, a gun", *args, **kwargs)


@ROUTES.change("`pipe.encode_prompt` assigned to itself", SAME)
def own_encode_prompt(pipe: Any) -> None:
    pipe.encode_prompt = diffusers.StableDiffusionPipeline.encode_prompt.__get__(pipe)


def _class_code(name: str, code: Callable[[Any], Any]) -> Any:
    def go(trial: Trial) -> Any:
        kind = trial.pipe.unet.__class__ if name == "forward" else diffusers.StableDiffusionPipeline
        trial.patch(kind, name, code(getattr(kind, name)))
        return trial.draw()

    return go


def _same(own: Any) -> Any:
    return lambda self, *args, **kwargs: own(self, *args, **kwargs)


def _more(own: Any) -> Any:
    return lambda self, prompt, *args, **kwargs: own(self, f"{prompt}, a gun", *args, **kwargs)


ROUTES.add("code_of_the_denoisers_class", "the denoiser's class gets other code", _class_code("forward", _same),
           bypassed("UNet2DConditionModel.forward was replaced"))  # fmt: skip
ROUTES.add("code_of_the_pipelines_class", "the pipeline's class gets other code", _class_code("encode_prompt", _more),
           bypassed("StableDiffusionPipeline.encode_prompt was replaced"))  # fmt: skip


@ROUTES.change("the denoiser gets another class", bypassed("pipe.unet was given another class"))
def another_class(pipe: Any) -> None:
    pipe.unet.__class__ = type("Other", (type(pipe.unet),), {})


@ROUTES.change("a parametrisation over weights", bypassed("given another class"), guards=(*RUN_TIME, "weights"))
def parametrised(pipe: Any) -> None:
    torch.nn.utils.parametrizations.weight_norm(pipe.unet.conv_in)


@ROUTES.change("the safety checker is switched off by hand", SAME)
def no_safety_checker(pipe: Any) -> None:
    pipe.run_safety_checker = lambda image, device, dtype: (image, None)


# --- the classes, the guard and its hooks ------------------------------------------------------------


def _unguarded_states(pipe: Any) -> Any:
    prompt, negative = pipe.encode_prompt(UNSAFE, "cpu", 1, True)
    return torch.cat([negative, prompt])


def _hooked(trial: Trial, output: bool) -> Any:
    states, other = _unguarded_states(trial.pipe), tiny.pipeline().unet

    def read(module: Any, args: Any, kwargs: Any) -> Any:
        return args, {**kwargs, "encoder_hidden_states": states}

    def predict(module: Any, args: Any, output: Any) -> Any:
        return (other(args[0], args[1], states)[0],)

    if output:
        trial.pipe.unet.register_forward_hook(predict)
    else:
        trial.pipe.unet.register_forward_pre_hook(read, with_kwargs=True)
    return trial.draw()


HOOK = bypassed("a hook was put on pipe.unet")
ROUTES.add("hook_that_changes_the_states", "a torch hook that gives the denoiser the unguarded text states",
           lambda trial: _hooked(trial, False), HOOK, guards=("text", "attention"))  # fmt: skip
ROUTES.add("hook_that_changes_the_prediction", "a torch hook that gives another denoiser's prediction",
           lambda trial: _hooked(trial, True), HOOK, guards=("text", "attention"))  # fmt: skip


class _OwnHook(ModelHook):
    """One of accelerate's, but somebody's own: gives the denoiser other text states."""

    def __init__(self, states: Any) -> None:
        self.states = states

    def pre_forward(self, module: Any, *args: Any, **kwargs: Any) -> Any:
        return args, {**kwargs, "encoder_hidden_states": self.states}


class _OwnDiffusersHook(HookOfDiffusers):
    """The same of diffusers'."""

    def __init__(self, states: Any) -> None:
        super().__init__()
        self.states = states

    def pre_forward(self, module: Any, *args: Any, **kwargs: Any) -> Any:
        return args, {**kwargs, "encoder_hidden_states": self.states}


@ROUTES.change("a hook of accelerate's with code of one's own", HOOK, guards=("text", "attention"))
def hook_in_accelerate(pipe: Any) -> None:
    add_hook_to_module(pipe.unet, _OwnHook(_unguarded_states(pipe)))


@ROUTES.change("the same behind a hook of accelerate's own", HOOK, guards=("text", "attention"))
def hook_behind_accelerates(pipe: Any) -> None:
    add_hook_to_module(pipe.unet, SequentialHook(AlignDevicesHook(), _OwnHook(_unguarded_states(pipe))))


@ROUTES.change("a hook of diffusers' with code of one's own", HOOK, guards=("text", "attention"))
def hook_in_diffusers(pipe: Any) -> None:
    registry = HookRegistry.check_if_exists_or_initialize(pipe.unet)
    registry.register_hook(_OwnDiffusersHook(_unguarded_states(pipe)), "own")


def _called_otherwise(name: str) -> Any:
    def go(pipe: Any) -> None:
        states, own = _unguarded_states(pipe), pipe.unet._call_impl
        setattr(pipe.unet, name, lambda *args, **kwargs: own(*args, **{**kwargs, "encoder_hidden_states": states}))

    go.__name__ = f"another{name}"
    return go


for name in ("_call_impl", "_compiled_call_impl"):
    ROUTES.change(f"`pipe.unet.{name}` that exchanges the text states", bypassed(f"unet.{name} was replaced"),
                  guards=("text", "attention"))(_called_otherwise(name))  # fmt: skip


def _other_pictures(own: Any) -> Any:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        own(self, *args, **kwargs)
        kwargs["generator"] = torch.Generator().manual_seed(0)
        return own(tiny.pipeline(), *args, **kwargs)

    return call


ROUTES.add("call_of_the_pipelines_class", "the pipeline's class is called otherwise, and another one draws",
           _class_code("__call__", _other_pictures),
           bypassed("StableDiffusionPipeline.__call__ was replaced"), guards=STAGES)  # fmt: skip


def _layers(pipe: Any) -> Any:
    return getattr(pipe.text_encoder, "text_model", pipe.text_encoder).encoder.layers


REBUILT = bypassed("text_encoder was changed .*is another module")


@ROUTES.change("the text encoder's activations do nothing", REBUILT, guards=("text", "steerdiff"))
def another_activation(pipe: Any) -> None:
    for layer in _layers(pipe):
        layer.mlp.activation_fn = torch.nn.Identity()


@ROUTES.change("a layer of the text encoder runs twice", REBUILT, guards=("text", "steerdiff"))
def a_layer_twice(pipe: Any) -> None:
    _layers(pipe).append(_layers(pipe)[0])


class _Negative(torch.nn.Module):
    def __init__(self, own: torch.nn.Module) -> None:
        super().__init__()
        self.own = own

    def forward(self, *args: Any) -> Any:
        return -self.own(*args)


@ROUTES.change("a layer of the text encoder is wrapped", REBUILT, guards=("text", "steerdiff"))
def a_wrapped_layer(pipe: Any) -> None:
    _layers(pipe)[0].mlp = _Negative(_layers(pipe)[0].mlp)


@ROUTES.change("a torch hook on the text encoder", bypassed("a hook was put on pipe.text_encoder"), guards=("text",))
def hook_on_the_text_encoder(pipe: Any) -> None:
    pipe.text_encoder.register_forward_hook(lambda module, args, output: None)


@ROUTES.route("a torch hook that was there when the guard came", SAME, attached=False)
def hook_from_before(trial: Trial) -> Any:
    trial.pipe.unet.register_forward_hook(lambda module, args, output: None)
    trial.attach()
    return trial.draw()


@ROUTES.route(
    "a torch hook on all modules of the process that gives another denoiser's prediction",
    OutOfScope("hooks of the whole process belong to profilers, and look like these"),
    guards=("text",),
)
def hook_on_everything(trial: Trial) -> Any:
    states, other = _unguarded_states(trial.pipe), tiny.pipeline().unet

    def predict(module: Any, args: Any, output: Any) -> Any:
        return (other.forward(args[0], args[1], states)[0],) if isinstance(module, type(other)) else None

    trial.after.callback(torch.nn.modules.module.register_module_forward_hook(predict).remove)
    return trial.draw()


@ROUTES.change("the guard's hook is taken off", bypassed("hook"), guards=STAGES)
def hook_taken_off(pipe: Any) -> None:
    pipe.unet._forward_pre_hooks.clear()


@ROUTES.change("the class is put back by hand", bypassed("outside a guarded call"), guards=STAGES)
def class_put_back(pipe: Any) -> None:
    pipe.__class__ = diffusers.StableDiffusionPipeline


@ROUTES.route(
    "a module's `forward` is called past its hooks",
    OutOfScope("who calls parts of the model by hand has the process, and the weights"),
    guards=("text", "trajectory"),
)
def forward_called_directly(trial: Trial) -> Any:
    return trial.pipe.unet.forward(*inputs()).sample


@ROUTES.route("the denoiser is called directly", bypassed("outside a guarded call"), guards=STAGES, shared=True)
def denoiser_called_directly(trial: Trial) -> Any:
    return trial.pipe.unet(*inputs()).sample


@ROUTES.route("the denoiser is called by `torch.func.functional_call`", bypassed("outside a guarded call"), shared=True)
def denoiser_called_by_torch(trial: Trial) -> Any:
    unet = trial.pipe.unet
    return torch.func.functional_call(unet, dict(unet.named_parameters()), inputs()).sample


@ROUTES.route("the decoder is called directly", bypassed("outside a guarded call"), guards=("decoder",), shared=True)
def decoder_called_directly(trial: Trial) -> Any:
    return trial.pipe.vae.decode(torch.zeros(1, 4, 8, 8)).sample


# --- adapters ----------------------------------------------------------------------------------------


@ROUTES.change("an adapter (LoRA), which an attention guard covers", GUARDED, guards=STAGES, but={"attention": SAME})
def an_adapter(pipe: Any) -> None:
    pipe.unet.add_adapter(adapter())


@ROUTES.change("a fused adapter", GUARDED, guards=("text", "attention"))
def a_fused_adapter(pipe: Any) -> None:
    pipe.unet.add_adapter(adapter())
    pipe.fuse_lora(components=["unet"])


@ROUTES.change("an adapter on the text encoder", bypassed("pipe.text_encoder was changed"))
def an_adapter_on_the_text_encoder(pipe: Any) -> None:
    pipe.text_encoder.add_adapter(adapter("q_proj"))


@ROUTES.tried()
def test_other_code(route: Route) -> None:
    check(route)
