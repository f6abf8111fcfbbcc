"""What is special about the attacks by text encoder."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import tiny
from closeness import same_bits
from stanchion.attacks.encoder import ring_a_bell
from stanchion.attacks.encoder._concept_vector import concept_vector
from stanchion.attacks.encoder.mma_diffusion import MMADiffusion, PooledMatch, pooled
from stanchion.attacks.encoder.ring_a_bell import RingABell
from stanchion.attacks.encoder.ring_a_bell_embed import RingABellEmbed
from stanchion.attacks.encoder.splice import Splice
from stanchion.attacks.tokens import framed, free_ids, own_ids, words_of
from stanchion.errors import ConfigError
from stanchion.targets.deployment import Deployment
from stanchion.types import Access, Budget, Prompt

ROW = Prompt("a photo of a knife", 5, "0")


@pytest.fixture
def target(pipe: Any) -> Any:
    return Deployment(pipe, steps=2).target(Access.TEXT_ENCODER)


def found(attack: Any, target: Any, seed: int = 0) -> list[Any]:
    return list(attack.run(target, ROW, budget=Budget(), generator=torch.Generator().manual_seed(seed)))


def test_ring_a_bell_comes_nearer_with_more_generations(target: Any) -> None:
    def distance(generations: int) -> float:
        (one,) = found(RingABell("weapons", population=32, generations=generations, lengths=(6,)), target)
        assert len(own_ids(target, one.text)) >= 1 and one.note["length"] == 6
        return one.note["distance"]

    assert distance(25) < 0.98 * distance(1)


def test_ring_a_bell_keeps_clear_of_the_concepts_words_where_it_shall(target: Any) -> None:
    (one,) = found(RingABell("weapons", "tiny", generations=10), target)
    assert not any(word in one.text for word in words_of(RingABell("weapons").concept))


def test_survivors_are_kept_and_children_are_made_of_two_of_them() -> None:
    generator = torch.Generator().manual_seed(0)
    survivors = torch.arange(8)[:, None].repeat(1, 5) * 10 + torch.arange(5)
    group = ring_a_bell.crossed(survivors, generator)
    assert group.shape == (16, 5) and same_bits(group[:8], survivors)
    assert same_bits(group % 10, torch.arange(5).expand(16, -1))  # every token stays in its place
    assert ((group[:, 1:] // 10 != group[:, :-1] // 10).sum(1) <= 1).all()  # one cut


def test_mutation_changes_one_token_of_about_its_share() -> None:
    generator = torch.Generator().manual_seed(0)
    group = torch.zeros(2000, 6, dtype=torch.long)
    changed = (ring_a_bell.mutated(group, torch.arange(1, 9), 0.25, generator) != 0).sum(1)
    assert changed.max() == 1 and 0.2 < changed.float().mean() < 0.3


def test_ring_a_bell_embed_adds_the_concepts_vector(target: Any) -> None:
    attack = RingABellEmbed("weapons", etas=(0.0, 2.0))
    plain, moved = found(attack, target)
    states = target.encode(target.tokenize([ROW.text]))[0]
    assert torch.allclose(plain.embeds, states, atol=1e-5)
    assert torch.allclose(moved.embeds - states, 2 * concept_vector(target, attack.concept), atol=1e-5)


def test_splice_says_the_cover_and_keeps_the_prompts_padding(target: Any) -> None:
    cover = "a photo of a cat"
    (one,) = found(Splice("weapons", covers=(cover,)), target)
    harmless, unsafe = target.encode(target.tokenize([cover, ROW.text]))
    end = len(own_ids(target, cover)) + 2  # start, its own tokens, end
    assert torch.allclose(one.embeds[:end], harmless[:end], atol=1e-5)
    assert torch.allclose(one.embeds[end:], unsafe[end:], atol=1e-5)
    assert not torch.allclose(one.embeds[end:], harmless[end:], atol=1e-2)


def test_mma_says_no_forbidden_word_and_comes_nearer(target: Any) -> None:
    def distance(steps: int) -> float:
        (one,) = found(MMADiffusion("weapons", length=6, steps=steps, candidates=24, top=16, restarts=1), target)
        assert not any(word in one.text.lower() for word in words_of(MMADiffusion("weapons").concept))
        ids = target.tokenize([one.text])
        assert len(own_ids(target, one.text)) == 6
        far = 1 - torch.cosine_similarity(pooled(target, ids), pooled(target, target.tokenize([ROW.text])))
        assert float(far) == pytest.approx(one.note["distance"], abs=1e-3)  # of the text as it is read back
        return one.note["distance"]

    assert distance(12) < distance(1)


def test_pooled_is_what_clip_pools(target: Any, pipe: Any) -> None:
    ids = target.tokenize(["a photo of a knife", "a cat"])
    assert torch.allclose(pooled(target, ids), pipe.text_encoder(ids).pooler_output, atol=1e-5)


def test_mma_reads_no_further_than_the_end_token(target: Any) -> None:
    own = own_ids(target, "big red cat")
    goal = PooledMatch(target, pooled(target, target.tokenize([ROW.text])), 3)
    ids = framed(target, own[None])
    far = 1 - torch.cosine_similarity(pooled(target, ids), goal.wanted)
    assert torch.allclose(goal.distances(target.token_embeddings[ids]), far, atol=1e-5)


def test_settings_that_make_no_sense_are_refused(target: Any) -> None:
    with pytest.raises(ConfigError, match="4, 8, 12"):
        RingABell("weapons", population=6)
    with pytest.raises(ConfigError, match="etas"):
        RingABellEmbed("weapons", etas=())
    with pytest.raises(ConfigError, match="top is 0"):
        MMADiffusion("weapons", top=0)
    with pytest.raises(ConfigError, match="more than the text encoder reads"):
        found(MMADiffusion("weapons", length=tiny.CONTEXT), target)
    assert len(free_ids(target)) == len(tiny.tokenizer()) - 2
