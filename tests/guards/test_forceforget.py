"""ForceForget's guard: the split of text rows, what adapter and LoRA add, and where it acts."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

import tiny
from closeness import near, same_bits
from stanchion import ArtefactError, ConfigError, ForceForget, UnsupportedPipeline
from stanchion.guards.attention.forceforget import Projection, State, prepare
from stanchion.pipeline.model.workbench import Workbench
from stanchion.training.recipes.forceforget._safe_adapter import SafeAdapter

LAYER, D, C, L, M = "mid.attn2", 6, 5, 12, 4


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tensors(**changed):
    values = {}
    for seed, which in enumerate(("q", "k", "v")):
        into = C if which == "q" else D
        values[f"{LAYER}.to_{which}.lora_down"] = random(2, into, seed=seed)
        values[f"{LAYER}.to_{which}.lora_up"] = random(C, 2, seed=10 + seed)
        if which != "q":
            values[f"{LAYER}.to_{which}.adapter"] = random(C, D, seed=20 + seed)
    return {**values, **changed}


def guard_and_state(values=None, **settings):
    values = tensors() if values is None else values
    guard = ForceForget("weapons", tensors=values, **{"rows": L, "tokens": M, **settings})
    return guard, State(prepare(values, torch.device("cpu"), torch.float32, scale=guard.settings.scale))


def project(which="k", context=None, projected=None, values=None, **settings):
    guard, state = guard_and_state(values, **settings)
    context = random(2, L, D, seed=5) if context is None else context
    projected = random(2, len(context[0]), C, seed=6) if projected is None else projected
    return guard.project(LAYER, which, context, projected, state), context, projected


def trained_on(pipe, **options):
    """A guard of the tiny pipeline whose tensors change nothing yet."""
    adapter = SafeAdapter(Workbench(pipe).text_projections(("q", "k", "v")), **options)
    return {name: value.detach().clone() for name, value in adapter.tensors().items()}


def guard_of(pipe, values, **settings):
    """A guard of these tensors that belongs to this pipeline."""
    base = {"unet": Workbench(pipe).base_of("unet")}
    return ForceForget("weapons", tensors=values, base=base, rows=tiny.CONTEXT, **settings)


@pytest.mark.parametrize("options", [{}, {"adapter_rank": 3}, {"adapter": False}, {"lora_rank": 0}])
@pytest.mark.parametrize("position", ["end", "begin"])
def test_at_first_it_changes_nothing(pipe, options, position):
    plain = tiny.draw(pipe)
    with guard_of(pipe, trained_on(pipe, **options), position=position).attach(pipe):
        assert (tiny.draw(pipe) - plain).abs().max() < 1e-5


def test_the_formula():
    found, context, projected = project()
    values = tensors()
    delta = values[f"{LAYER}.to_k.lora_up"] @ values[f"{LAYER}.to_k.lora_down"]
    expected = torch.cat(
        [projected[:, :-M] + context[:, :-M] @ delta.T, context[:, -M:] @ values[f"{LAYER}.to_k.adapter"].T], 1
    )
    torch.testing.assert_close(found, expected)


def test_queries_get_their_lora_at_every_row():
    hidden, stock = random(2, 9, C, seed=5), random(2, 9, C, seed=6)
    found, _, _ = project("q", hidden, stock)
    values = tensors()
    delta = values[f"{LAYER}.to_q.lora_up"] @ values[f"{LAYER}.to_q.lora_down"]
    torch.testing.assert_close(found, stock + hidden @ delta.T)


def test_thin_and_square_products_agree(monkeypatch):
    square, _, _ = project("q", random(2, 9, C), random(2, 9, C, seed=1))
    monkeypatch.setattr("stanchion.guards.attention.forceforget.WIDE", 1)
    thin, _, _ = project("q", random(2, 9, C), random(2, 9, C, seed=1))
    torch.testing.assert_close(thin, square)


@pytest.mark.parametrize(("position", "own"), [("end", slice(-M, None)), ("begin", slice(0, M))])
def test_the_adapter_rows_depend_on_their_own_text_rows_only(position, own):
    first, context, projected = project("v", position=position)
    other = random(2, L, D, seed=77)
    other[:, own] = context[:, own]
    second, _, _ = project("v", other, projected + 1, position=position)
    assert same_bits(first[:, own], second[:, own])
    assert not torch.isclose(first, second).all()


def test_half_the_scale_is_half_the_way():
    stock = random(2, L, C, seed=6)
    full, context, _ = project(projected=stock)
    half, _, _ = project(context=context, projected=stock, scale=0.5)
    none, _, _ = project(context=context, projected=stock, scale=0.0)
    torch.testing.assert_close(half, (stock + full) / 2)
    assert none is stock


def test_no_scale_is_the_unguarded_picture(pipe):
    plain = tiny.draw(pipe)
    with tiny.guard("forceforget", scale=0.0).attach(pipe):
        assert same_bits(tiny.draw(pipe), plain)


def test_gradients_pass():
    guard, state = guard_and_state()
    context = random(2, L, D).requires_grad_(True)
    guard.project(LAYER, "k", context, random(2, L, C), state).sum().backward()
    assert context.grad.abs().sum() > 0


def test_text_that_is_not_padded_is_refused(pipe):
    with pytest.raises(UnsupportedPipeline, match="7 rows"):
        project(context=random(2, 7, D))
    embeds = Workbench(tiny.pipeline()).encode(["a cat"])
    with tiny.guard("forceforget").attach(pipe), pytest.raises(UnsupportedPipeline, match="pad the prompt"):
        pipe(prompt_embeds=embeds[:, :7], negative_prompt_embeds=embeds[:, :7], num_inference_steps=2)


def test_longer_text_ends_in_the_adapter():
    """Prompts in several chunks are padded at the end of the last."""
    found, context, _ = project(context=random(2, 2 * L, D))
    torch.testing.assert_close(found[:, -M:], context[:, -M:] @ tensors()[f"{LAYER}.to_k.adapter"].T)


@pytest.mark.parametrize("kind", ["image", "inpaint"])
def test_it_acts_on_pictures_too(kind):
    pipe = tiny.pipeline(kind, in_channels=9 if kind == "inpaint" else 4)
    white = Image.new("RGB", (tiny.SIZE, tiny.SIZE), "white")
    options = {"image": white, "strength": 0.75, "output_type": "pt", "num_inference_steps": 4}
    if kind == "inpaint":
        options |= {"mask_image": white, "height": tiny.SIZE, "width": tiny.SIZE}

    def draw():
        return pipe("a knife", generator=torch.Generator().manual_seed(0), **options).images

    plain, muted = draw(), {name: value * 0 for name, value in trained_on(pipe).items()}
    with guard_of(pipe, muted).attach(pipe) as attachment:
        guarded = draw()
        assert attachment.last.guards[0].active_steps == (3,)
    assert not near(guarded, plain)


def test_another_denoiser_is_refused(pipe):
    with pytest.raises(ArtefactError, match="unet"):
        tiny.guard("forceforget").attach(tiny.pipeline(seed=1))
    with guard_of(pipe, tensors()).attach(pipe), pytest.raises(UnsupportedPipeline, match="another denoiser"):
        tiny.draw(pipe)


def test_broken_tensors_make_no_picture(pipe):
    values = trained_on(pipe)
    name = next(key for key in values if key.endswith("to_v.adapter"))
    values[name][0, 0] = float("nan")
    with pytest.raises(ArtefactError, match="no finite number"):
        guard_of(pipe, values).attach(pipe)


@pytest.mark.parametrize("settings", [{"scale": 1.5}, {"scale": -0.1}, {"tokens": 0}, {"tokens": L}])
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ConfigError, match="forceforget"):
        guard_and_state(**settings)


def test_a_projection_without_anything_is_the_stock_one():
    guard, _ = guard_and_state()
    stock = random(2, L, C)
    nothing = State({(LAYER, "k"): Projection(None, None, None, False)})
    assert guard.project(LAYER, "k", random(2, L, D), stock, nothing) is stock
