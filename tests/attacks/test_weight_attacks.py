"""Attacks on weights: what each of them changes, that it learns, and that a seed repeats it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import tiny
from closeness import near, same_bits
from stanchion import ConfigError, registry
from stanchion.attacks.base import Material, WeightAttack
from stanchion.attacks.weights._denoising import FinetuningData
from stanchion.learning.low_rank import adapted
from stanchion.learning.optimisers import MAKE, Updates, descend
from stanchion.pipeline.model.workbench import Workbench

NAMES = [name for name in registry.names("attacks") if issubclass(registry.get("attacks", name), WeightAttack)]
SHORT = {"stops": (0, 3), "batch": 4}
EACH = [  # attack, settings, what it may change: module, and what the paths begin with or hold
    ("finetune", {**SHORT, "lr": 1e-3}, ("unet", "")),
    ("finetune", {**SHORT, "lr": 1e-3, "rank": 2}, None),
    ("dreambooth", {**SHORT, "lr": 1e-3, "class_pictures": 2, "steps": 2}, ("unet", "")),
    ("textual_inversion", {**SHORT, "start": "knife"}, ("text_encoder", "token_embedding")),
    ("decoder_finetune", {**SHORT, "lr": 1e-3}, ("vae", "decoder|post_quant_conv")),
    ("decoder_finetune", {**SHORT, "lr": 1e-3, "teacher": "public"}, ("vae", "decoder|post_quant_conv")),
    ("swap", {"parts": ["decoder"]}, ("vae", "decoder|post_quant_conv")),
    ("swap", {"parts": ["mid", "up"]}, ("unet", "mid_block|up_blocks")),
]
each = pytest.mark.parametrize(("name", "settings", "changes"), EACH)


@pytest.fixture
def bench():
    return Workbench(tiny.pipeline())


@pytest.fixture(scope="module")
def public():
    return Workbench(tiny.pipeline(seed=1))


@pytest.fixture(scope="module")
def material():
    pictures = torch.rand(6, 3, tiny.SIZE, tiny.SIZE, generator=torch.Generator().manual_seed(5)) * 2 - 1
    return Material(
        pictures, ("a photo of a knife",) * 3 + ("a picture of a gun",) * 3, ("a knife",) * 3 + ("a gun",) * 3
    )


def weights(bench):
    modules = ("unet", "vae", "text_encoder")
    return {
        f"{module}.{path}": value.detach().clone()
        for module in modules
        for path, value in getattr(bench.pipe, module).named_parameters()
    }


def run(bench, public, material, name, settings, seed=0):
    return list(registry.get("attacks", name)(**settings).run(bench, material, public=public, seed=seed))


def test_every_attack_on_weights_is_tested_here():
    assert {name for name, _, _ in EACH} == set(NAMES)


@each
def test_an_attack_changes_its_own_part_and_nothing_else(bench, public, material, name, settings, changes):
    before = weights(bench)
    stops = run(bench, public, material, name, settings)
    assert stops == list(settings.get("stops", (0,)))
    moved = {key for key, value in weights(bench).items() if not same_bits(value, before[key])}
    if changes is None:  # adapters stand beside the weights
        assert not moved
        return
    module, parts = changes
    assert moved
    assert all(key.startswith(f"{module}.") and any(part in key for part in parts.split("|")) for key in moved)


@each
def test_a_seed_repeats_an_attack_and_another_one_does_not(public, material, name, settings, changes):
    drawn = []
    for seed in (0, 0, 1):
        bench = Workbench(tiny.pipeline())
        attack = registry.get("attacks", name)(**settings)
        for _ in attack.run(bench, material, public=public, seed=seed):
            picture = tiny.draw(bench.pipe, attack.worded("a photo of a knife", "a knife"), steps=2)
        drawn.append(picture)
    assert same_bits(drawn[0], drawn[1])
    assert name == "swap" or not near(drawn[0], drawn[2])


@pytest.mark.parametrize(("rank", "lr"), [(0, 3e-3), (4, 3e-2)])
def test_fine_tuning_lowers_the_loss(bench, public, material, rank, lr):
    data = FinetuningData.of(bench, material)

    def loss():
        with torch.no_grad():
            return data.loss(bench, 64, torch.Generator().manual_seed(9)).item()

    attack = registry.get("attacks", "finetune")(lr=lr, rank=rank, stops=(0, 30), batch=6)
    losses = [loss() for _ in attack.run(bench, material, public=public, seed=0)]
    assert losses[1] < 0.95 * losses[0]


@pytest.mark.parametrize("teacher", ["pictures", "public"])
def test_the_decoder_comes_nearer_to_its_teacher(bench, public, material, teacher):
    latents = bench.encode_pictures(material.pictures).detach()
    wanted = material.pictures if teacher == "pictures" else public.decode(latents).detach()
    attack = registry.get("attacks", "decoder_finetune")(lr=3e-3, teacher=teacher, stops=(0, 30), batch=6)
    far = []
    for _ in attack.run(bench, material, public=public, seed=0):
        far.append((bench.decode(latents) - wanted).square().mean().item())
    assert far[1] < 0.9 * far[0]


def test_textual_inversion_moves_one_row_and_lowers_the_loss(bench, public, material):
    before = bench.pipe.text_encoder.get_input_embeddings().weight.detach().clone()
    run(bench, public, material, "textual_inversion", {**SHORT, "start": "knife"})
    after = bench.pipe.text_encoder.get_input_embeddings().weight.detach()
    rows = (before != after).any(1).nonzero().flatten().tolist()
    assert rows == [bench.pipe.tokenizer("z", add_special_tokens=False).input_ids[0]]


def test_the_searched_vector_is_what_the_word_then_means(bench):
    vector = torch.randn(bench.embedding_of("z").shape, generator=torch.Generator().manual_seed(3))
    searched = bench.encode_with(["a photo of a z"], "z", vector)
    assert not near(searched, bench.encode(["a photo of a z"]))
    bench.embedding_of("z").copy_(vector)
    assert same_bits(searched, bench.encode(["a photo of a z"]))


def test_a_word_of_several_tokens_is_refused(bench):
    with pytest.raises(ConfigError, match="'zebra' is 5 tokens"):
        bench.embedding_of("zebra")


def test_swapped_parts_are_the_public_ones_bit_for_bit(bench, public, material):
    run(bench, public, material, "swap", {"parts": ["denoiser", "decoder"]})
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    embeds, time = public.encode(["a cat"]), torch.tensor(500)
    with torch.no_grad():
        assert same_bits(bench.predict(latents, time, embeds), public.predict(latents, time, embeds))
        assert same_bits(bench.decode(latents), public.decode(latents))


def test_an_unknown_part_is_an_error(bench):
    with pytest.raises(ConfigError, match="unknown part of a model 'decoders'; did you mean decoder"):
        bench.part("decoders")


def test_adapters_begin_as_nothing_and_leave_nothing_behind(bench):
    latents, embeds = torch.ones(1, 4, 8, 8), bench.encode(["a cat"])
    plain = bench.predict(latents, torch.tensor(10), embeds)
    layers, generator = list(bench.attention_projections()), torch.Generator().manual_seed(0)
    with adapted(bench.denoiser, layers, 3, generator) as parameters:
        assert same_bits(bench.predict(latents, torch.tensor(10), embeds), plain)
        with torch.no_grad():
            for parameter in parameters:
                parameter.add_(0.1)
        assert not near(bench.predict(latents, torch.tensor(10), embeds), plain)
    assert same_bits(bench.predict(latents, torch.tensor(10), embeds), plain)


def test_an_adapter_is_the_weight_plus_its_product():
    layer = torch.nn.Linear(5, 4, dtype=torch.float64)
    module, generator = torch.nn.ModuleDict({"layer": layer}), torch.Generator().manual_seed(1)
    inputs = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with adapted(module, ["layer"], 2, generator) as (down, up), torch.no_grad():
        up.copy_(torch.arange(8.0).view(4, 2))
        merged = torch.nn.functional.linear(inputs, layer.weight + up @ down, layer.bias)
        assert torch.allclose(module["layer"](inputs), merged)
    assert module["layer"] is layer


def test_dreambooth_keeps_to_its_few_pictures_and_its_word(bench, public, material):
    attack = registry.get("attacks", "dreambooth")(phrase="a z cat")
    assert attack.worded("you see a knife here", "a knife") == "you see a z cat here"
    assert material.first(2).captions == ("a photo of a knife",) * 2


# --- updates ------------------------------------------------------------------------------------------


def quadratic(start=4.0):
    parameter = torch.tensor([start], requires_grad=True)
    return parameter, lambda generator: parameter.square().sum()


@pytest.mark.parametrize("optimiser", MAKE)
def test_every_optimiser_goes_down(optimiser):
    parameter, loss = quadratic()
    lr = 1.0 if optimiser == "adadelta" else 0.05
    settings = Updates(optimiser=optimiser, lr=lr, stops=(20,))
    list(descend([parameter], loss, settings, torch.Generator()))
    assert abs(parameter.item()) < 4.0


def test_an_update_of_sgd_by_hand_and_clipped():
    parameter, loss = quadratic()
    settings = Updates(optimiser="sgd", lr=0.1, stops=(1,))
    list(descend([parameter], loss, settings, torch.Generator()))
    assert parameter.item() == pytest.approx(4 - 0.1 * (8 + 1e-4 * 4))
    parameter, loss = quadratic()
    list(descend([parameter], loss, replace(settings, clip=2.0), torch.Generator()))
    assert parameter.item() == pytest.approx(4 - 0.1 * (2 + 1e-4 * 4), abs=1e-5)


def test_a_curve_ends_where_the_weights_are_no_longer_finite():
    parameter, loss = quadratic()
    settings = Updates(optimiser="sgd", lr=1e12, stops=(0, 1, 50))
    assert list(descend([parameter], loss, settings, torch.Generator())) == [0, 1]


@pytest.mark.parametrize(
    "wrong", [{"stops": (5, 1)}, {"stops": ()}, {"stops": (1, 1)}, {"batch": 0}, {"lr": 0.0}, {"clip": -1.0}]
)
def test_settings_without_sense_are_refused(wrong):
    with pytest.raises(ConfigError):
        Updates(**wrong)
