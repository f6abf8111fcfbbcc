"""FLUX on one CLIP, as the reference FLUX is: text guards read it, recipes and white-box attacks know it."""

import numpy as np
import pytest
import torch

import tiny
from closeness import near, same_bits
from stanchion import ForceForget, UnsupportedPipeline, load_guard, registry
from stanchion.judges.always_safe import AlwaysSafe
from stanchion.pipeline.families import family_of
from stanchion.pipeline.model.workbench import Workbench
from stanchion.pipeline.noise.exploring_scheduler import exploring
from stanchion.targets.deployment import Deployment
from stanchion.training.recipe import train_guard
from stanchion.training.recipes.forceforget._safe_adapter import SafeAdapter
from stanchion.training.recipes.forceforget.refit.closed_form import Texts, refitted
from stanchion.training.recipes.forceforget.refit.in_runs import read
from stanchion.types import Access, Budget, Prompt
from tiny_families import flux
from tiny_families.guards import KNIVES
from tiny_families.guards import guard as made

PROMPTS = ["a knife and a cat", "a knife"]


@pytest.fixture(scope="module")
def pipe():
    return flux.on_clip()


def draw(pipe, **options):
    generators = [torch.Generator().manual_seed(place) for place in range(len(PROMPTS))]
    guidance = family_of(pipe).arguments(pipe, 4.0, len(PROMPTS))
    how = {"num_inference_steps": 2, "output_type": "pt", "generator": generators, **guidance, **options}
    return pipe(**{"prompt": PROMPTS, **how}).images


def test_only_one_clip_without_distilled_guidance_is_such():
    assert "training" in family_of(flux.on_clip()).offers
    distilled = flux.on_clip()
    distilled.transformer.register_to_config(guidance_embeds=True)
    other = flux.on_clip()
    other.text_encoder_2 = flux.clip()
    with torch.no_grad():
        next(other.text_encoder_2.parameters()).add_(1)
    for pipe in (distilled, other):
        assert "training" not in family_of(pipe).offers
        with pytest.raises(UnsupportedPipeline, match="not trained or attacked"):
            Workbench(pipe)


def test_safree_reads_its_words_and_comes_off(pipe):
    before = draw(pipe)
    with load_guard("safree", KNIVES).attach(pipe) as attachment:
        guarded = draw(pipe)
        assert attachment.last.acted == (True, True)
    assert not near(guarded, before)
    assert same_bits(draw(pipe), before)


def test_the_workbench_draws_what_the_pipeline_draws(pipe):
    bench = Workbench(pipe)
    noise = torch.randn(2, *bench.latent_shape, generator=torch.Generator().manual_seed(0))
    *_, (_, latents) = bench.trajectory(bench.encode(PROMPTS), bench.encode([""]), noise, steps=3, scale=4.0)
    drawn = draw(pipe, num_inference_steps=3, latents=noise, output_type="latent")
    assert near(latents, drawn)
    with torch.no_grad():
        picture = bench.decode(latents).clamp(-1, 1) / 2 + 0.5
    assert near(picture, draw(pipe, num_inference_steps=3, latents=noise))
    assert bench.encode_pictures(picture * 2 - 1).shape == latents.shape


def test_the_velocity_that_is_wanted_leads_back_to_the_picture(pipe):
    bench = Workbench(pipe)
    clean, noise = torch.randn(2, 3, *bench.latent_shape, generator=torch.Generator().manual_seed(1)).unbind()
    times = torch.tensor([1, 400, 999])
    noisy = bench.noisy(clean, times, noise)
    assert near(noisy[1], 0.6 * clean[1] + 0.4 * noise[1])
    wanted = bench.wanted(clean, noise)
    assert near(bench.path.leading_to(clean, noisy, times), wanted, spread=1e-3)
    assert near(bench.path.moved(noisy, wanted, times[:, None, None], None), clean, spread=1e-5)


@pytest.mark.parametrize("name", ["none", "trasce", "safree", "forceforget", "monitor"])
def test_a_white_box_attacker_sees_what_the_pipeline_draws_with(name, pipe):
    """A step of Euler by the guarded prediction at x_t is the pipeline's own."""
    guard = None if name == "none" else made(name, pipe)
    attached = guard.attach(pipe) if guard else None
    seen: dict[float, tuple[torch.Tensor, torch.Tensor]] = {}

    class WatchingFlowMatch(type(pipe.scheduler)):
        def step(self, model_output, timestep, sample, **options):
            seen[float(timestep)] = model_output, sample
            return super().step(model_output, timestep, sample, **options)

    stock = pipe.scheduler
    try:
        pipe.scheduler = WatchingFlowMatch.from_config(stock.config)
        draw(pipe)
        target = Deployment(pipe, flux.on_clip(), steps=2, guidance_scale=4.0).target(Access.WHITE_BOX)
        assert target.timesteps == (999, 500)
        wanted, own = seen[500.0]
        ids = target.tokenize(PROMPTS)
        guided = target.predict(own / 0.5**0.5, 500, ids=ids)  # c is 1 / sqrt(0.5^2 + 0.5^2)
        assert near(guided.noise, wanted, spread=1e-5)
        rows = target.token_embeddings[ids].requires_grad_()
        target.predict_noise(own / 0.5**0.5, 500, ids=ids, token_embeds=rows).square().sum().backward()
        assert rows.grad.isfinite().all() and rows.grad.any()
    finally:
        pipe.scheduler = stock
        if attached:
            attached.detach()


def test_states_of_an_attackers_own_bring_their_last_row_as_the_vector(pipe):
    """What is learnt from is what the pipeline draws with; a guard that reads the prompt takes no such vector."""
    deployment = Deployment(pipe, flux.on_clip(), steps=2, guidance_scale=4.0)
    target = deployment.target(Access.WHITE_BOX)
    states = target.encode(target.tokenize(["a knife"])).detach().requires_grad_()
    target.predict_noise(torch.randn(1, *target.latent_shape), 500, embeds=states).square().sum().backward()
    assert states.grad[:, -1].any()
    asked = {"num_inference_steps": 2, "output_type": "pil", "generator": torch.Generator().manual_seed(0)}
    given = {"prompt_embeds": states.detach(), "pooled_prompt_embeds": states.detach()[:, -1]}
    own = pipe(**given, **family_of(pipe).arguments(pipe, 4.0, 1), **asked).images[0]
    (image,) = target.generate(embeds=states.detach(), seeds=[0])
    assert same_bits(np.array(image), np.array(own))
    with made("safree", pipe).attach(pipe):
        assert target.generate(embeds=states.detach(), seeds=[0]) == [None]


def test_a_picture_that_was_begun_elsewhere_is_finished(pipe):
    target = Deployment(pipe, flux.on_clip(), steps=3, guidance_scale=4.0).target(Access.WHITE_BOX)
    whole = target.latents(["a knife"], seeds=[0], step=3)
    begun = target.latents(["a knife"], seeds=[0], step=1)
    assert begun.shape == whole.shape and not near(begun, whole)
    (own,) = target.generate(["a knife"], seeds=[0])
    (image,) = target.generate(["a knife"], seeds=[0], latents=begun, start_step=1)
    assert same_bits(np.array(image), np.array(own))


@pytest.mark.parametrize(
    "name", ["concept_inversion", "soft_prompt", "splice", "ring_a_bell_embed", "diffusion_completion"]
)
def test_attacks_by_states_and_by_what_was_begun_run(name, pipe):
    row = Prompt("a photo of a knife", 5, "weapons/unsafe/0000", objects=("knife",))
    deployment = Deployment(pipe, flux.on_clip(), steps=2, guidance_scale=4.0)
    attack = registry.get("attacks", name)("weapons", "tiny")
    (attempt,) = attack(deployment, [row], judge=AlwaysSafe(), budget=Budget(pictures=4), seed=3)
    assert attempt.verdict is not None and not attempt.verdict.unsafe  # there was a picture to judge


def test_an_attacker_of_flux_adds_no_noise(pipe):
    target = Deployment(pipe, flux.on_clip(), steps=2, guidance_scale=4.0).target(Access.WHITE_BOX)
    with pytest.raises(UnsupportedPipeline, match="flow"), exploring(pipe, eta=1.0):
        pass
    assert target.generate(["a knife"], seeds=[0], eta=1.0) == [None]


@pytest.mark.parametrize("name", ["esd", "uce", "patronus_hardening"])
def test_a_recipe_trains_a_guard_that_acts_and_comes_off(name, pipe, tmp_path):
    before = draw(pipe)
    train_guard(name, pipe, "weapons", tmp_path, preset="tiny", **tiny.settings(name))
    guard = load_guard(tmp_path)
    assert all(key.startswith("transformer.") for key in guard.weights())
    with guard.attach(pipe):
        assert not same_bits(draw(pipe), before)
    assert same_bits(draw(pipe), before)


def test_uce_edits_what_reads_the_text_encoder_and_nothing_else(pipe, tmp_path):
    train_guard("uce", pipe, "weapons", tmp_path, preset="tiny")
    layers = ("context_embedder", "time_text_embed.text_embedder.linear_1")
    assert set(load_guard(tmp_path).tensors) == {f"transformer.{layer}.weight" for layer in layers}


def test_forceforget_trains_on_its_flow_and_acts_in_every_block(pipe, tmp_path):
    before = draw(pipe)
    made = train_guard("forceforget", pipe, "weapons", tmp_path, preset="tiny", iterations=1)
    places = family_of(pipe).text_projections(pipe.transformer, ("k", "v"))
    parts = ("lora_down", "lora_up", "adapter", "adapter_bias")
    assert set(made.tensors) == {f"{place.layer}.to_{place.which}.{part}" for place in places for part in parts}
    assert made.settings.rows == 77 and made.training["images"] == 4
    with load_guard(tmp_path).attach(pipe) as attachment:
        assert not same_bits(draw(pipe), before)
        assert attachment.last.acted == (True, True)
    assert same_bits(draw(pipe), before)


def test_a_refit_reads_every_layers_own_states(pipe):
    bench, texts, length = Workbench(pipe), ["a cat and a knife", "a knife"], 77
    places = bench.text_projections(("k",))
    adapted = torch.arange(length) >= length - 4
    says = torch.arange(length) >= torch.tensor([[5], [2]])
    seen: dict[str, list[torch.Tensor]] = {}
    handles = [
        place.module.register_forward_hook(
            lambda module, args, out, layer=place.layer: seen.setdefault(layer, []).append(args[0][2:, :length])
        )
        for place in places
    ]
    found = read(bench, bench.encode(texts), says, adapted, 4.0, np.random.default_rng(0))
    for handle in handles:
        handle.remove()
    assert found.keys() == {(place.layer, own) for place in places for own in (True, False)}
    for (layer, own), moment in found.items():
        rows = torch.cat([states[says & (adapted == own)] for states in seen[layer]]).double()
        assert len(seen[layer]) == 4
        torch.testing.assert_close(moment[:-1, :-1], rows.T @ rows / len(rows))
        torch.testing.assert_close(moment[-1], torch.cat([rows.mean(0), torch.ones(1).double()]))


def test_a_refit_takes_back_most_of_what_harmless_texts_would_feel(pipe):
    bench, texts = Workbench(pipe), Texts(["a knife"], ["a knife"], ["a cat", ""])
    adapter = SafeAdapter(bench.text_projections(("k", "v")), lora_rank=0)
    tensors = {name: value.detach() for name, value in adapter.tensors().items()}
    guard = ForceForget(KNIVES, tensors=tensors)
    same = refitted(guard, bench, texts, 0.1, 4.0, np.random.default_rng(0))
    assert all(near(value, tensors[name]) for name, value in same.items())
    moved = {name: value + 0.1 for name, value in tensors.items()}
    weak, strong = (
        refitted(ForceForget(KNIVES, tensors=moved), bench, texts, mu, 4.0, np.random.default_rng(0))
        for mu in (1e-6, 1e3)
    )
    everything = torch.ones(2, 77, dtype=torch.bool)
    felt = read(bench, bench.encode(texts.benign), everything, torch.arange(77) >= 73, 4.0, np.random.default_rng(1))

    def effect(made):
        """Mean square of what the adapter's rows of harmless texts get that is not stock."""
        total = 0.0
        for place in bench.text_projections(("k", "v")):
            names = [f"{place.layer}.to_{place.which}.{part}" for part in ("adapter", "adapter_bias")]
            weight, bias = (made[name] - tensors[name] for name in names)
            delta = torch.cat([weight, bias[:, None]], 1).double()
            total += (delta @ felt[place.layer, True] * delta).sum().item()
        return total

    assert effect(moved) > effect(weak) > 100 * effect(strong)


def test_forceforget_may_act_where_the_prompt_is_near_the_concept(pipe):
    prompts = {"prompt": ["a cat", "a knife"]}
    plain, guard = draw(pipe, **prompts), made("forceforget", pipe)
    drawn = {}
    for when in ("always", "flagged"):
        with ForceForget(KNIVES, tensors=guard.tensors, base=guard.base, rows=77, when=when).attach(pipe) as attachment:
            drawn[when] = draw(pipe, **prompts)
    assert attachment.last.acted == (False, True)
    assert near(drawn["flagged"], torch.stack([plain[0], drawn["always"][1]]))
    assert not near(drawn["always"][0], plain[0])
