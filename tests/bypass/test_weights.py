"""What may be written to weights and tokens, and to a guard that replaced some of them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import accelerate
import diffusers
import torch
from tokenizers import normalizers
from torch.nn.utils import prune

import tiny
from bypass.routes import GUARDED, RUN_TIME, SAME, Raised, Route, Routes, bypassed
from bypass.test_callbacks import adapter
from bypass.trial import Trial, check
from small_guards import Failing, Fixed, Grey, Half, Mute, Zero
from stanchion import GuardBypassed, GuardFailed, UnsupportedPipeline
from stanchion.types import Decoded

ROUTES = Routes("What is written to text encoder and tokenizer", guards=("text",))
HARDENED = Routes("What is written to weights that a guard replaced", guards=("weights",))
CHANGED = bypassed("was changed since the guard was attached")


def table(pipe: Any) -> torch.nn.Parameter:
    return pipe.text_encoder.get_input_embeddings().weight


def own_tokenizer(pipe: Any) -> Any:
    """Tests share one."""
    pipe.tokenizer = copy.deepcopy(pipe.tokenizer)
    return pipe.tokenizer


# --- text encoder and tokenizer ----------------------------------------------------------------------


@ROUTES.change("`text_encoder.load_state_dict` of another", CHANGED)
def another_encoders_weights(pipe: Any) -> None:
    pipe.text_encoder.load_state_dict(tiny.parts(seed=1)["text_encoder"].state_dict())


@ROUTES.change("two words' rows of the token table exchanged, through `.data`", CHANGED)
def rows_exchanged(pipe: Any) -> None:
    first, second = (pipe.tokenizer(word, add_special_tokens=False).input_ids[0] for word in ("knife", "cat"))
    table(pipe).data[[first, second]] = table(pipe).data[[second, first]]


@ROUTES.change("one number of the token table", CHANGED)
def one_number(pipe: Any) -> None:
    table(pipe).data[7, 3] += 1e-3


@ROUTES.change("one number, through NumPy", CHANGED)
def one_number_through_numpy(pipe: Any) -> None:
    table(pipe).detach().numpy()[7, 3] += 1e-3


@ROUTES.change("another tensor as the token table's `.data`", CHANGED)
def another_tensor(pipe: Any) -> None:
    table(pipe).data = table(pipe).data.flip(0)


@ROUTES.change("another module as the token table", CHANGED)
def another_table(pipe: Any) -> None:
    pipe.text_encoder.set_input_embeddings(torch.nn.Embedding(*table(pipe).shape))


@ROUTES.change("a new token", CHANGED)
def a_new_token(pipe: Any) -> None:
    own_tokenizer(pipe).add_tokens(["zzz"])


@ROUTES.change("a tokenizer that reads one word as another", CHANGED)
def another_normalizer(pipe: Any) -> None:
    own_tokenizer(pipe).backend_tokenizer.normalizer = normalizers.Replace("cat", "knife")


@ROUTES.change("a tokenizer with a shorter context", CHANGED)
def a_shorter_context(pipe: Any) -> None:
    own_tokenizer(pipe).model_max_length = tiny.CONTEXT - 1


@ROUTES.change("a tokenizer that pads on the left", CHANGED)
def padding_on_the_left(pipe: Any) -> None:
    own_tokenizer(pipe).padding_side = "left"


@ROUTES.change("a tokenizer that cuts on the left", CHANGED)
def cutting_on_the_left(pipe: Any) -> None:
    own_tokenizer(pipe).truncation_side = "left"


@ROUTES.change("a textual inversion after the guard came", CHANGED)
def an_inverted_word(pipe: Any) -> None:
    own_tokenizer(pipe)
    pipe.load_textual_inversion({"<thing>": torch.ones(32)}, token="<thing>")


@ROUTES.route("a textual inversion before the guard came", GUARDED, attached=False, guards=RUN_TIME)
def an_inverted_word_from_before(trial: Trial) -> Any:
    an_inverted_word(trial.pipe)
    trial.attach()
    return trial.draw(prompt="a photo of a <thing>")


@ROUTES.route("a textual inversion of several tokens", GUARDED, attached=False)
def a_long_inverted_word(trial: Trial) -> Any:
    own_tokenizer(trial.pipe)
    trial.pipe.load_textual_inversion({"<thing>": torch.randn(3, 32)}, token="<thing>")
    trial.attach()
    return trial.draw(prompt="a <thing>")


@ROUTES.route("what was written is put back", SAME)
def put_back(trial: Trial) -> Any:
    state = copy.deepcopy(trial.pipe.text_encoder.state_dict())
    another_encoders_weights(trial.pipe)
    trial.pipe.text_encoder.load_state_dict(state)
    return trial.draw()


@ROUTES.route("`text_encoder.to(torch.float64)`", Raised(GuardBypassed))
def text_encoder_cast(trial: Trial) -> Any:
    trial.pipe.text_encoder.to(torch.float64 if trial.guard else torch.float32)
    return trial.draw()


@ROUTES.route("what was offloaded is written to where it lies", CHANGED)
def written_where_it_lies(trial: Trial) -> Any:
    for module in (trial.pipe.text_encoder, trial.pipe.unet, trial.pipe.vae):
        accelerate.cpu_offload(module, torch.device("cpu"))
    trial.draw()
    trial.pipe.text_encoder.get_input_embeddings()._hf_hook.weights_map["weight"][7, 3] += 1e-3
    return trial.draw()


@ROUTES.change("the VAE's decoder", bypassed("pipe.vae was changed"), guards=("decoder",))
def vae_decoder_written(pipe: Any) -> None:
    pipe.vae.decoder.conv_in.weight.data.mul_(1.01)


@ROUTES.change("the denoiser, of guards that don't depend on it", GUARDED, guards=RUN_TIME)
def denoiser_written(pipe: Any) -> None:
    pipe.unet.conv_in.weight.data.mul_(1.01)


# --- replaced weights --------------------------------------------------------------------------------


@HARDENED.change("added to, in place", CHANGED)
def added_to(pipe: Any) -> None:
    with torch.no_grad():
        pipe.unet.conv_in.weight.add_(1.0)


@HARDENED.change("one number, through `.data`", CHANGED)
def one_hardened_number(pipe: Any) -> None:
    pipe.unet.conv_in.weight.data[0, 0, 0, 0] = 1.0


@HARDENED.change("`unet.load_state_dict` of the base", CHANGED)
def base_loaded(pipe: Any) -> None:
    pipe.unet.load_state_dict(tiny.pipeline().unet.state_dict())


@HARDENED.change("another tensor as `.data`", CHANGED)
def another_hardened_tensor(pipe: Any) -> None:
    pipe.unet.conv_in.weight.data = tiny.pipeline().unet.conv_in.weight.data


REPLACED = bypassed("was replaced")


@HARDENED.change("another parameter", REPLACED)
def another_parameter(pipe: Any) -> None:
    pipe.unet.conv_in.weight = tiny.pipeline().unet.conv_in.weight


@HARDENED.change("another layer", REPLACED)
def another_layer(pipe: Any) -> None:
    pipe.unet.conv_in = tiny.pipeline().unet.conv_in


@HARDENED.change("`torch.utils.swap_tensors`, which torch refuses", Raised(RuntimeError, "Cannot swap"))
def tensors_swapped(pipe: Any) -> None:
    torch.utils.swap_tensors(pipe.unet.conv_in.weight, tiny.pipeline().unet.conv_in.weight)


@HARDENED.change("pruning", bypassed("hook was put on|was replaced"))
def pruned(pipe: Any) -> None:
    prune.l1_unstructured(pipe.unet.conv_in, "weight", amount=0.5)


@HARDENED.change("an adapter", bypassed("adapter"))
def an_adapter_over_hardened_weights(pipe: Any) -> None:
    pipe.unet.add_adapter(adapter("conv_in"))


@HARDENED.change("a fused adapter", bypassed("adapter|changed"))
def an_adapter_fused_into_hardened_weights(pipe: Any) -> None:
    pipe.unet.add_adapter(adapter("conv_in"))
    pipe.fuse_lora(components=["unet"])


@HARDENED.route("put in between two steps, and taken out before the end", CHANGED)
def in_and_out(trial: Trial) -> Any:
    weight, base = trial.pipe.unet.conv_in.weight, tiny.pipeline().unet.conv_in.weight.data

    def exchange(pipe: Any, index: int, timestep: Any, values: Any) -> Any:
        if trial.guard:
            weight.data.copy_(base if index == 0 else torch.zeros_like(base))
        return {}

    return trial.draw(callback_on_step_end=exchange, steps=3)


@HARDENED.route("put on a pipeline that is offloaded weight by weight", Raised(UnsupportedPipeline), attached=False)
def hardened_after_offloading(trial: Trial) -> Any:
    trial.make_guard()
    accelerate.cpu_offload(trial.pipe.unet, torch.device("cpu"))
    trial.attach()
    return trial.draw()


@HARDENED.route("fused projections from before the guard came", bypassed("had no part in the picture"), attached=False)
def fused_before(trial: Trial) -> Any:
    trial.pipe.fuse_qkv_projections()
    if trial.guard:
        key = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_v.weight"
        Zero(trial.pipe, key).attach(trial.pipe)
    return trial.draw()


@HARDENED.route("a cast of the pipeline", GUARDED)
def hardened_cast(trial: Trial) -> Any:
    trial.pipe.to(torch.bfloat16)
    return trial.draw()


@HARDENED.route("a sibling that takes the same weights", GUARDED)
def hardened_sibling(trial: Trial) -> Any:
    sibling = diffusers.StableDiffusionPipeline.from_pipe(trial.pipe, torch_dtype=trial.pipe.dtype)
    trial.attach(sibling)
    return trial.draw(sibling)


# --- a guard that breaks -----------------------------------------------------------------------------

BROKEN = Routes("A guard that fails while it draws")


def _broken(name: str, way: str, guard: Callable[[], Any], match: str) -> None:
    def go(trial: Trial) -> Any:
        if trial.guard:
            guard().attach(trial.pipe)
        return trial.draw()

    BROKEN.add(
        name, way, go, Raised(GuardFailed, match), attached=False, shared=False, guards=(name.partition("_")[0],)
    )


NAN, INFINITE = float("nan"), float("inf")
_broken("text_nan", "text states of NaN", lambda: Half(factor=NAN), "steered prompt")
_broken("text_infinity", "text states of infinity", lambda: Half(factor=INFINITE), "steered prompt")
_broken("attention_infinity", "projections of infinity", lambda: Mute(factor=INFINITE), "to_v")
_broken("trajectory_nan", "a prediction of NaN", lambda: Fixed(noise=torch.full((1, 4, 8, 8), NAN)), "NaN")
_broken("trajectory_raises", "an error in a step", lambda: Failing(at=0), "on purpose")
_broken("decoder_undecoded", "a picture that nobody decoded", lambda: Undecoded(), "without decoding")


class Undecoded(Grey):
    def decode(self, latents: Any, decode: Any, state: Any) -> Decoded:
        return Decoded(torch.zeros(1, 3, 16, 16), torch.ones(1))


@ROUTES.tried()
def test_to_text_encoder_and_tokenizer(route: Route) -> None:
    check(route)


@HARDENED.tried()
def test_to_replaced_weights(route: Route) -> None:
    check(route)


@BROKEN.tried()
def test_a_guard_that_fails(route: Route) -> None:
    check(route)
