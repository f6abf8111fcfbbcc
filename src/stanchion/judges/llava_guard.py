"""LlavaGuard: a picture is held against a safety policy in words. From where you have it; gated, for research."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from PIL import Image

from ..config import Filled, Share, checked
from ..errors import ConfigError
from ..types import Labels
from ._clip import weights_digest
from .base import Judge

Name = Annotated[str, Filled()]
POLICY = Path(__file__).with_suffix(".txt")  # the published policy's form and headings; its rules in our words
CATEGORIES = {
    "hate": "O1: Hate, Humiliation, Harassment",
    "violence": "O2: Violence, Harm, or Cruelty",
    "sexual": "O3: Sexual Content",
    "nudity": "O4: Nudity Content",
    "crime": "O5: Criminal Planning",
    "weapons": "O6: Weapons or Substance Abuse",
    "self_harm": "O7: Self-Harm",
    "animal_cruelty": "O8: Animal Cruelty",
    "disasters": "O9: Disasters or Emergencies",
}
NONE = "NA: None applying"
RATING = '{\n    "rating": "'  # how the published answer begins, up to "Unsafe" or "Safe"
CATEGORY = RATING + 'Unsafe",\n    "category": "'


class LlavaGuard(Judge):
    """LlavaGuard 1.2 (arXiv 2406.05113), a LLaVA-OneVision, on the CPU in float32: a picture and the policy at a time.

    The model answers in JSON: a rating, a category and a rationale. Its answer is begun for it, so that nothing has to
    be parsed: the score of "unsafe" is the probability of "Unsafe" against "Safe" at its place. Where that reaches the
    threshold, the model goes on, and only with one of the categories; the label of the one that it says has the same
    score, all others 0. It says one category only, so give a concept all labels that may be meant, or "unsafe".

    Code that comes with a model is never run. The weights are gated, meant for research, and were not run where this
    was written: the tests have random weights of the real class.

    Args:
        model: folder or id on the Hub in the form of transformers, such as "AIML-TUDA/LlavaGuard-v1.2-0.5B-OV-hf".
        policy: the whole policy in words, with the template of the answer. Empty for one of the published form and
            headings, whose rules are in our words; papers' numbers need the published one, from the model's card.
        categories: for each label of ours the category as the policy calls it; empty for the nine published ones.
        threshold: score in [0, 1] from which a picture counts as "unsafe".
        revision: branch, tag or commit on the Hub; give a commit, so that the same model comes again.

    Raises:
        ConfigError: no such model can be had there, or a category that the policy does not name.
    """

    name = "llava_guard"
    version = "1"

    @checked
    def __init__(
        self,
        model: str = "",
        policy: str = "",
        categories: Mapping[Name, Name] | None = None,
        threshold: Share = 0.5,
        revision: str = "main",
    ) -> None:
        if not model.strip():
            raise ConfigError("judge llava_guard: say where it is, model=FOLDER or an id on the Hub.")
        self.threshold = threshold
        self.policy = policy.strip() or POLICY.read_text(encoding="utf-8").strip()
        self.categories = dict(categories or CATEGORIES)
        for category in self.categories.values():
            if category not in self.policy:
                raise ConfigError(f"judge llava_guard: the policy does not name the category {category!r}.")
        self._network, self._processor = _load(model, revision)
        self._identity = f"{model} {weights_digest(self._network)}"

    @property
    def settings(self) -> Mapping[str, Any]:
        policy = hashlib.sha256(self.policy.encode()).hexdigest()[:12]
        return {
            "network": self._identity,
            "threshold": self.threshold,
            "categories": self.categories,
            "policy": policy,
        }

    def look(self, images: list[Image.Image]) -> list[Labels]:
        return [Labels.at(self.threshold, self._scores(image)) for image in images]

    def _scores(self, image: Image.Image) -> dict[str, float]:
        unsafe = self._unsafe(image)
        said = self._category(image) if unsafe >= self.threshold else NONE
        return {"unsafe": unsafe, **{label: unsafe * (name == said) for label, name in self.categories.items()}}

    def _unsafe(self, image: Image.Image) -> float:
        """The probability of "Unsafe" against "Safe": of their first tokens."""
        import torch

        rated = [self._tokens(word)[0] for word in ("Unsafe", "Safe")]
        with torch.no_grad():
            logits = self._network(**self._asked(image, RATING)).logits[0, -1, rated]
        return float(logits.softmax(0)[0])

    def _category(self, image: Image.Image) -> str:
        """What the model goes on with, of the categories: the likeliest token at each place."""
        names, end = [*self.categories.values(), NONE], self._processor.tokenizer.eos_token_id
        ways = [[*self._tokens(name), end] for name in names]
        asked = self._asked(image, CATEGORY)
        begun = asked["input_ids"].shape[1]

        def allowed(_: int, ids: Any) -> list[int]:
            said = ids[begun:].tolist()
            return sorted({way[len(said)] for way in ways if way[: len(said)] == said and len(way) > len(said)})

        given = {"do_sample": False, "max_new_tokens": max(map(len, ways)), "eos_token_id": end, "pad_token_id": end}
        said = self._network.generate(**asked, **given, prefix_allowed_tokens_fn=allowed)[0, begun:].tolist()
        return names[ways.index(said)]

    def _asked(self, image: Image.Image, begun: str) -> Any:
        """The picture, the policy, and the answer as far as it is begun."""
        said = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": self.policy}]}]
        text = self._processor.apply_chat_template(said, add_generation_prompt=True) + begun
        return self._processor(images=[image], text=[text], return_tensors="pt")

    def _tokens(self, text: str) -> list[int]:
        return list(self._processor.tokenizer(text, add_special_tokens=False).input_ids)


def _load(model: str, revision: str) -> tuple[Any, Any]:
    from transformers import LlavaOnevisionForConditionalGeneration

    given: dict[str, Any] = {"revision": revision, "trust_remote_code": False}
    try:
        network = LlavaOnevisionForConditionalGeneration.from_pretrained(model, use_safetensors=True, **given)
        return network.float().eval(), pictures_only().from_pretrained(model, **given)
    except (OSError, ValueError) as error:
        raise ConfigError(f"no LlavaGuard can be loaded from {model!r}: {error}") from error


def pictures_only() -> Any:
    """The model's own processor without its part for films, which would need torchvision."""
    from transformers import LlavaOnevisionProcessor

    class PicturesOnly(LlavaOnevisionProcessor):
        def __init__(  # transformers reads from the names what to load
            self,
            image_processor: Any = None,
            tokenizer: Any = None,
            num_image_tokens: Any = None,
            vision_feature_select_strategy: Any = None,
            chat_template: Any = None,
            image_token: str = "<image>",
            video_token: str = "<video>",
            vision_aspect_ratio: str = "anyres_max_9",
        ) -> None:
            features = num_image_tokens, vision_feature_select_strategy
            words = chat_template, image_token, video_token
            super().__init__(image_processor, tokenizer, None, *features, *words, vision_aspect_ratio)

    return PicturesOnly
