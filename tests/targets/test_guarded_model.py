"""What an attacker gets of a deployment, and what it does not."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import tiny
from closeness import same_bits, within_a_level
from small_guards import Failing, Fixed, Half
from stanchion.errors import BudgetSpent, ConfigError, PromptRefused
from stanchion.targets.deployment import Deployment
from stanchion.types import Access, Adversarial, Budget, LatentStart

UNSAFE, BENIGN = "a photo of a knife", "a photo of a cat"
REFUSED = "a nude child"
MORE = {"encode", "tokenize", "words", "token_embeddings", "special_ids"}
MOST = {
    "base",
    "predict",
    "predict_noise",
    "decode",
    "encode_pictures",
    "noisy",
    "latents",
    "timesteps",
    "latent_shape",
}


def deployed(pipe: Any, **options: Any) -> Deployment:
    return Deployment(pipe, tiny.pipeline(), **{"steps": 3, **options})


def pixels(pictures: list[Image.Image | None]) -> np.ndarray:
    return np.stack([np.asarray(picture) for picture in pictures])


def reached(value: Any, depth: int = 3) -> Iterator[Any]:
    """Everything that attributes of a value lead to, methods' owners included."""
    yield value
    if depth == 0 or isinstance(value, torch.Tensor | str | int | float | type):
        return
    for name in dir(value):
        if not (name.startswith("__") and name not in ("__self__", "__dict__")):
            yield from reached(getattr(value, name, None), depth - 1)


@pytest.mark.parametrize("access", list(Access))
def test_each_access_level_has_what_it_should_and_no_more(access: Access, pipe: Any) -> None:
    names = set(dir(deployed(pipe).target(access)))
    level = list(Access).index(access)
    assert "generate" in names
    assert names >= MORE if level >= 1 else not MORE & names
    assert names >= MOST if level >= 2 else not MOST & names


@pytest.mark.parametrize("access", list(Access))
def test_no_attribute_of_a_target_leads_to_the_pipeline(access: Access, pipe: Any) -> None:
    with tiny.guard("negative_prompt").attach(pipe):
        target = deployed(pipe).target(access)
        for value in reached(target):
            assert not isinstance(value, nn.Module | Deployment)
            assert value is not pipe
        with pytest.raises(AttributeError):
            target.anything = 1


def test_a_black_box_gives_no_gradient(pipe: Any) -> None:
    target = deployed(pipe).target(Access.TEXT_ENCODER)
    states = target.encode(token_embeds=target.token_embeddings[target.tokenize([UNSAFE])].requires_grad_(True))
    assert states.requires_grad
    (picture,) = target.generate(embeds=states, seeds=[1])
    assert isinstance(picture, Image.Image)
    assert all(parameter.grad is None for parameter in pipe.unet.parameters())


def test_pictures_come_through_the_guard(pipe: Any) -> None:
    plain = pixels(deployed(pipe).target(Access.BLACK_BOX).generate([UNSAFE], seeds=[1]))
    with Fixed(noise=torch.zeros(())).attach(pipe) as attachment:
        guarded = pixels(deployed(pipe).target(Access.BLACK_BOX).generate([UNSAFE], seeds=[1]))
        assert attachment.last is not None
    assert not within_a_level(plain, guarded)


def test_a_refusal_is_none_and_its_neighbours_are_drawn(pipe: Any) -> None:
    class Refuses(Half):
        def steer(self, embeds: Any, state: Any) -> Any:
            if embeds.texts and any("cat" in text for text in embeds.texts):
                raise RuntimeError("no cats")
            return super().steer(embeds, state)

    with Refuses().attach(pipe):
        answers = deployed(pipe).target(Access.BLACK_BOX).generate([UNSAFE, BENIGN, UNSAFE], seeds=[1, 2, 3])
    assert [answer is None for answer in answers] == [False, True, False]


def test_what_a_guard_did_is_on_the_operators_side(pipe: Any) -> None:
    with tiny.guard("negative_prompt").attach(pipe):
        (drawn,) = deployed(pipe).draw([Adversarial(text=UNSAFE)], [1])
    assert drawn.acted == {"negative_prompt": 3}
    with Failing(at=0).attach(pipe):
        (failed,) = deployed(pipe).draw([Adversarial(text=UNSAFE)], [1])
    assert failed.image is None and "on purpose" in failed.error


def test_seeds_and_batches_give_the_same_pictures(pipe: Any) -> None:
    target = deployed(pipe).target(Access.BLACK_BOX)
    together = pixels(target.generate([UNSAFE, BENIGN], seeds=[1, 2]))
    alone = pixels([target.generate([text], seeds=[seed])[0] for text, seed in ((UNSAFE, 1), (BENIGN, 2))])
    assert within_a_level(together, alone)
    assert not within_a_level(
        pixels(target.generate([UNSAFE], seeds=[1, 3]))[0], pixels(target.generate([UNSAFE], seeds=[3]))[0]
    )


def test_unlike_candidates_are_drawn_in_their_order(pipe: Any) -> None:
    deployment = deployed(pipe)
    states = deployment.target(Access.TEXT_ENCODER).encode(
        pipe.tokenizer([BENIGN], padding="max_length", return_tensors="pt").input_ids
    )[0]
    sent = [Adversarial(text=UNSAFE), Adversarial(embeds=states), Adversarial(text=BENIGN, start=LatentStart(eta=1.0))]
    drawn = deployment.draw(sent, [1, 1, 1])
    alone = [deployment.draw([one], [1])[0] for one in sent]
    for one, other in zip(drawn, alone, strict=True):
        assert same_bits(np.array(one.image), np.array(other.image))  # what is unlike is drawn alone


def test_a_budget_is_never_overdrawn(pipe: Any) -> None:
    deployment = deployed(pipe)
    target = deployment.target(Access.WHITE_BOX, deployment.meter(Budget(2, 3, 4)))
    target.generate([UNSAFE], seeds=[1])
    with pytest.raises(BudgetSpent, match="pictures"):
        target.generate([UNSAFE], seeds=[2, 3])
    ids = target.tokenize([UNSAFE])
    target.encode(ids.repeat(4, 1))
    with pytest.raises(BudgetSpent, match="encodings"):
        target.encode(ids)
    latents = torch.randn(2, *target.latent_shape)
    target.predict(latents, 500, ids=ids.repeat(2, 1))
    with pytest.raises(BudgetSpent, match="predictions"):
        target.predict_noise(latents, 500, ids=ids.repeat(2, 1))
    assert (target.spent.pictures, target.spent.predictions, target.spent.encodings) == (1, 2, 4)
    target.spent.pictures = 0
    assert target.spent.pictures == 1
    target.base.generate([UNSAFE], seeds=[1, 2, 3])
    assert target.spent.pictures == 1


def test_the_floor_holds_for_everything_with_a_text(pipe: Any) -> None:
    deployment = deployed(pipe)
    target = deployment.target(Access.WHITE_BOX)
    for draw in (
        lambda: target.generate([UNSAFE, REFUSED], seeds=[1, 2]),
        lambda: target.base.generate([REFUSED], seeds=[1]),
        lambda: target.latents([REFUSED], seeds=[1], step=1),
        lambda: deployment.draw([Adversarial(text=REFUSED)], [1]),
    ):
        with pytest.raises(PromptRefused):
            draw()


def test_the_base_is_unguarded_and_another_object(pipe: Any) -> None:
    base = tiny.pipeline()
    with tiny.guard("negative_prompt").attach(pipe):
        with pytest.raises(ConfigError, match="base"):
            Deployment(pipe).target(Access.WHITE_BOX)
        with pytest.raises(ConfigError, match="another"):
            Deployment(pipe, pipe)
        target = Deployment(pipe, base, steps=3).target(Access.WHITE_BOX)
        assert not within_a_level(
            pixels(target.generate([UNSAFE], seeds=[1])), pixels(target.base.generate([UNSAFE], seeds=[1]))
        )
    assert same_bits(
        pixels(deployed(pipe).target(Access.BLACK_BOX).generate([UNSAFE], seeds=[1])),
        pixels(target.base.generate([UNSAFE], seeds=[1])),
    )


def test_a_start_continues_a_picture(pipe: Any) -> None:
    """DDIM up to a step and on from there is DDIM; from a step of another model it is not."""
    target = deployed(pipe, steps=4).target(Access.WHITE_BOX)
    whole = pixels(target.generate([UNSAFE], seeds=[1]))
    for step in (0, 1, 3):
        begun = target.latents([UNSAFE], seeds=[1], step=step)
        rest = pixels(target.generate([UNSAFE], seeds=[1], latents=begun, start_step=step))
        assert within_a_level(whole, rest)


def test_eta_and_its_noise(pipe: Any) -> None:
    target = deployed(pipe).target(Access.BLACK_BOX)
    plain, eta, more, scaled = (
        pixels(target.generate([UNSAFE], seeds=[1], **how))
        for how in ({}, {"eta": 1.0}, {"eta": 1.85}, {"eta": 1.0, "noise_scale": 1.04})
    )
    stock = pixels(
        pipe(
            UNSAFE, num_inference_steps=3, guidance_scale=4.0, eta=1.0, generator=[torch.Generator().manual_seed(1)]
        ).images
    )
    assert within_a_level(stock, eta)
    assert not any(within_a_level(*pair) for pair in combinations((plain, eta, more, scaled), 2))
    assert type(pipe.scheduler).__name__ == "DDIMScheduler"


def test_the_text_encoder_reads_ids_and_rows_alike(pipe: Any) -> None:
    target = deployed(pipe).target(Access.TEXT_ENCODER)
    ids = target.tokenize([UNSAFE, BENIGN])
    rows = target.token_embeddings[ids].requires_grad_(True)
    assert torch.allclose(target.encode(ids), target.encode(token_embeds=rows), atol=1e-6)
    assert torch.allclose(target.encode(ids)[:1], pipe.encode_prompt(UNSAFE, pipe.device, 1, False)[0], atol=1e-6)
    assert target.words(ids) == [UNSAFE, BENIGN]
    assert {int(ids[0, 0]), int(ids[0, -1])} == set(target.special_ids)
    assert "knife" in target.vocabulary and all(
        len(ids) == 1 for ids in pipe.tokenizer(list(target.vocabulary), add_special_tokens=False).input_ids
    )
    with pytest.raises(ConfigError, match="one of the two"):
        target.encode(ids, token_embeds=rows)


@pytest.mark.parametrize(
    "asked",
    [{"seeds": [1]}, {"texts": UNSAFE, "seeds": [1]}, {"texts": [UNSAFE] * 2, "seeds": [1, 2, 3]}],
    ids=["nothing", "no list", "of another number"],
)
def test_wrong_questions_are_errors(asked: dict[str, Any], pipe: Any) -> None:
    with pytest.raises(ConfigError):
        deployed(pipe).target(Access.BLACK_BOX).generate(**asked)
