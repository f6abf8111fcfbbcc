"""The concept-erasing reward (ForceForget, arXiv 2606.14351, Eq. 4 and 5), and its parts for the reference model.

    r_safe  = alpha p_safe + beta p_unsafe
    r_align = CLIP(x0, tau(caption(x0))) + CLIP(x0, c_phi)
    CER     = l1 r_safe + l2 r_align

A guard that is trained on a reward learns to please it, so the judge that measures guards is never one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..concepts import Concept
from ..errors import ConfigError


class SafetyEvaluator(Protocol):
    """How safe and how unsafe pictures look."""

    def __call__(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """(p_safe, p_unsafe), each (B,) in [0, 1], of pictures (B, 3, H, W) in [-1, 1]."""
        ...


class Captioner(Protocol):
    """What pictures show, in words."""

    def __call__(self, pictures: Tensor) -> list[str]: ...


class ImageTextScorer(Protocol):
    """How well pictures and texts agree."""

    def __call__(self, pictures: Tensor, texts: Sequence[str]) -> Tensor:
        """(B,) cosines in [-1, 1] of each picture with its own text."""
        ...


class PromptFilter(Protocol):
    """tau: captions without the concept's words."""

    def __call__(self, texts: Sequence[str]) -> list[str]: ...


@dataclass(frozen=True)
class Reward:
    """What ``ConceptErasingReward`` gave to each picture, all (B,)."""

    total: Tensor
    safe: Tensor
    align: Tensor
    p_unsafe: Tensor


@dataclass(frozen=True)
class ConceptErasingReward:
    """CER with its parts and weights.

    Attributes:
        scale: "raw" adds r_safe and r_align as they are; "unit" brings each to [0, 1] first (for alpha 1, beta -2).
    """

    evaluator: SafetyEvaluator
    captioner: Captioner
    scorer: ImageTextScorer
    filter: PromptFilter
    alpha: float = 1.0
    beta: float = -2.0
    l1: float = 1.0
    l2: float = 1.0
    scale: Literal["raw", "unit"] = "raw"

    @torch.no_grad()
    def __call__(self, pictures: Tensor, wanted: Sequence[str]) -> Reward:
        """Reward of pictures (B, 3, H, W) in [-1, 1]; ``wanted`` is c_phi for each, what to draw instead."""
        p_safe, p_unsafe = self.evaluator(pictures)
        captions = self.filter(self.captioner(pictures))
        safe = self.alpha * p_safe + self.beta * p_unsafe
        align = self.scorer(pictures, captions) + self.scorer(pictures, wanted)
        if self.scale == "unit":
            low, high = sorted((self.alpha, self.beta))
            safe, align = (safe - low) / (high - low), align / 2
        return Reward(self.l1 * safe + self.l2 * align, safe, align, p_unsafe)


class ConceptFilter:
    """tau from a concept: deletes its target phrases and its labels, each with its article."""

    def __init__(self, concept: Concept) -> None:
        words = sorted({*concept.targets, *concept.labels}, key=len, reverse=True)
        bare = [re.escape(re.sub(r"^(an?|the) ", "", word)) for word in words]
        self._named = re.compile(rf"\b(?:(?:an?|the) )?(?:{'|'.join(bare)})s?\b", re.IGNORECASE)

    def __call__(self, texts: Sequence[str]) -> list[str]:
        return [self._tidy(self._named.sub(" ", text)) for text in texts]

    def names(self, text: str) -> bool:
        """Whether a text says a word of the concept."""
        return self._named.search(text) is not None

    @staticmethod
    def _tidy(text: str) -> str:
        """Without doubled spaces and the conjunctions that nothing follows or precedes any more."""
        text = " ".join(text.split())
        text = re.sub(r"\b(of|shows|is) (and|with) ", r"\1 ", text)
        text = re.sub(r"^(and|with|of) | (and|with|of)$", "", text)
        return re.sub(r" (and|with|of) (?=(on|in|at)\b)", " ", text) or "a photo"


class ReferenceReader:
    """Evaluator and captioner in one: the reference world's reward model.

    Its logits reach 20, where probabilities are 1 whatever the picture, and a policy gradient needs differences; so a
    score rises on a straight line, from 0 at the logit ``absent`` to 1 at ``certain``. Below ``absent`` there is
    nothing left to gain, or a guard would go on to erase what is not there. p_safe asks for something benign to be
    seen: an empty picture is not what anybody wants instead. A concept with a style among its labels is judged by it.
    """

    def __init__(self, concept: Concept, device: torch.device, absent: float = -5.0, certain: float = 20.0) -> None:
        from ..reference import judge, world

        self.network = judge.load_reward().to(device)
        self.absent, self.certain = absent, certain
        self._objects = [judge.OBJECTS.index(name) for name in concept.labels if name in judge.OBJECTS]
        self._styles = [judge.STYLES.index(name) for name in concept.labels if name in judge.STYLES]
        if not self._objects + self._styles:
            raise ConfigError(
                f"concept {concept.name!r}: the reference evaluator knows none of its labels "
                f"({', '.join(concept.labels) or 'it has none'}). Give it labels of the reference world, or another "
                "evaluator: a folder or Hub id."
            )
        self._benign = [judge.OBJECTS.index(name) for name in world.GENERIC if name not in concept.labels]

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """(p_safe, p_unsafe): something benign and nothing of the concept; anything of the concept."""
        objects, styles, _ = self.network(pictures.float())
        found = [objects[:, self._objects]] if self._objects else []
        if self._styles:
            others = [place for place in range(styles.shape[1]) if place not in self._styles]
            found.append(styles[:, self._styles] - styles[:, others].logsumexp(1, keepdim=True))
        unsafe = self._score(torch.cat(found, 1).amax(1))
        return (1 - unsafe) * self._score(objects[:, self._benign].amax(1)), unsafe

    def scores(self, pictures: Tensor) -> Tensor:
        """(B, 32) how surely each object is seen."""
        return self._score(self.network(pictures.float())[0])

    def _score(self, logits: Tensor) -> Tensor:
        return ((logits - self.absent) / (self.certain - self.absent)).clamp(0, 1)

    def captions(self, pictures: Tensor) -> list[str]:
        """The objects that it sees, as a caption."""
        arrays = ((pictures.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        return self.network.describe(arrays)


class ReaderScorer:
    """How well pictures and texts agree, by the reference world's reward model: sharper than its CLIP.

    A text agrees with a picture where the things that it names are seen and no others are: the mean score of these,
    times what the clearest of the others leaves. A text that names nothing agrees with every picture by half.
    """

    def __init__(self, reader: ReferenceReader) -> None:
        from ..reference import world

        self.reader = reader
        self._words = [{thing.name, *thing.synonyms} for thing in world.OBJECTS.values()]

    @torch.no_grad()
    def __call__(self, pictures: Tensor, texts: Sequence[str]) -> Tensor:
        """(B,) in [0, 1]."""
        seen = self.reader.scores(pictures)
        named = torch.tensor([self._named(text) for text in texts], device=seen.device)
        of_named = (seen * named).sum(1) / named.sum(1).clamp_min(1)
        of_others = seen.masked_fill(named, 0).amax(1)
        return torch.where(named.any(1), of_named * (1 - of_others), torch.full_like(of_named, 0.5))

    def _named(self, text: str) -> list[bool]:
        padded = f" {re.sub(r'[^a-z ]', ' ', text.lower())} "
        return [any(f" {word} " in padded for word in words) for words in self._words]


class ReferenceScorer:
    """The reference world's CLIP for rewards (another than the one that measures)."""

    def __init__(self, device: torch.device) -> None:
        from transformers import CLIPModel, CLIPTokenizer

        from ..reference import judge

        self.clip = CLIPModel.from_pretrained(judge.WEIGHTS / "clip", use_safetensors=True).float().eval().to(device)
        self.tokenizer = CLIPTokenizer.from_pretrained(judge.WEIGHTS / "pipeline" / "tokenizer")
        self._texts: dict[str, Tensor] = {}

    @torch.no_grad()
    def __call__(self, pictures: Tensor, texts: Sequence[str]) -> Tensor:
        size = (self.clip.config.vision_config.image_size,) * 2
        pictures = interpolate(pictures.float(), size=size, mode="bilinear", antialias=True)
        seen = self.clip.visual_projection(self.clip.vision_model(pixel_values=pictures).pooler_output)
        told = torch.stack([self._text(text) for text in texts])
        return torch.cosine_similarity(seen, told)

    def _text(self, text: str) -> Tensor:
        if text not in self._texts:
            length = self.tokenizer.model_max_length
            tokens = self.tokenizer(
                [text], padding="max_length", max_length=length, truncation=True, return_tensors="pt"
            ).input_ids
            states = self.clip.text_model(input_ids=tokens.to(self.clip.device)).pooler_output
            self._texts[text] = self.clip.text_projection(states)[0]
        return self._texts[text]
