"""ForceForget's training: policy gradient on the concept-erasing reward (arXiv 2606.14351, sections 3 and 4).

The preset "paper" is the published setting. "default" learns from far fewer pictures: the pictures of a prompt share
their first noise and are compared with one another, some of them show what is wanted, runs are short, a tether
holds benign predictions in place, and what was learnt is refitted in closed form at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from torch import Tensor

from ....config import Count, Natural, NotNegative, Positive, Range, Real, Share, checked
from ....errors import ConfigError
from ....guards.attention.forceforget import ForceForget
from ....pipeline.model.workbench import Workbench
from ...prompts.pool import SUBJECTS, PromptPool
from ...recipe import Recipe, Run
from ._ddpo import Trainer
from ._reward_models import load_reward
from .refit.closed_form import Texts, refitted

AboveZero = Annotated[float, Range(0, 1, above=True)]


@checked
@dataclass(frozen=True)
class Settings:
    """Everything that decides the outcome beside concept, model and seed.

    Attributes:
        start: folder of a saved guard of the same shapes to begin with; "" for one that changes nothing yet.
        iterations: of sampling and learning; 0 only refits ``start``.
        prompts, group: prompts an iteration, and pictures of each: ``prompts * group`` pictures an iteration.
        shares: how often the concept alone, beside a companion, and benign prompts are drawn.
        explorers: of each group, pictures that are drawn under what is wanted (c_phi) instead of the prompt; the prompt
            learns from them as from its own, by their ratio. They show what the prompt would hardly ever try.
        from_pictures, pictures: share of the iterations that begin at noised pictures of the concept, at random
            strengths from about 0.3 to 0.7, as image to image does; and how many such pictures there are.
        subjects: everyday things for companions and benign prompts; name some that the model draws well.
        shared_noise: whether the pictures of a group begin with the same noise.
        advantages: rewards compared within their "group", or with the "prompt"'s own history as DDPO does.
        advantage_limit: largest advantage either way.
        spread_floor: least deviation that a group's rewards are divided by.
        steps, eta, guidance_scale: of the sampler; eta is DDIM's, or on a flow the a of flow-GRPO.
        stochastic: share of the steps, from the noisiest, that are stochastic and learnt from.
        fraction: of these, the share that is drawn by lot for each update.
        updates: optimiser steps an iteration; each takes its share of the pictures.
        delta: how far a ratio may leave 1 before its gradient ends.
        lr, cooling: learning rate, and to which share of it it falls with the share of unsafe pictures; 1 for never.
        average: weight of the past in the running average of the tensors that is kept; 0 keeps the last.
        empty_gradient: whether the empty prompt's prediction is learnt from too; costs as much again.
        tether: weight of the tether on benign prompts; 0 for none.
        tether_prompts, tether_batch: unguarded runs kept for it, and states of theirs an update.
        rounds: adversarial rounds over the second half of the iterations (``training/adversarial_rounds.py``).
        attacked, search: share of the groups that are drawn under what they found, and updates of each search.
        refit: weight of benign texts in the refit that ends the training (``refit``); 0 for none.
        refit_texts: how many of each kind are read for it.
        alpha, beta, l1, l2, reward_scale: of the concept-erasing reward.
        evaluator, captioner, scorer: "reference", or where the model lies: a folder or a Hub id; for the scorer also
            "reader", the reference evaluator itself, which is sharper than the reference CLIP.
        lora_rank, lora, adapter, adapter_rank, tokens, position: see ``SafeAdapter`` and the guard.
        chunk: most actions in one pass with gradients; less takes less memory.
    """

    start: str = ""
    iterations: Count = 72
    prompts: Natural = 6
    group: Natural = 8
    shares: tuple[NotNegative, NotNegative, NotNegative] = (0.4, 0.6, 0.0)
    explorers: Count = 2
    from_pictures: Share = 0.4
    pictures: Natural = 48
    subjects: tuple[str, ...] = SUBJECTS
    shared_noise: bool = True
    advantages: Literal["group", "prompt"] = "group"
    advantage_limit: Positive = 3.0
    spread_floor: Positive = 0.05
    steps: Natural = 7
    eta: AboveZero = 1.0
    guidance_scale: NotNegative = 4.0
    stochastic: AboveZero = 0.4
    fraction: AboveZero = 1.0
    updates: Natural = 4
    delta: Positive = 0.03
    lr: Positive = 4e-3
    cooling: Share = 0.25
    average: Annotated[float, Range(0, 1, below=True)] = 0.8
    empty_gradient: bool = False
    tether: NotNegative = 25.0
    tether_prompts: Natural = 96
    tether_batch: Natural = 24
    rounds: Count = 0
    attacked: Share = 0.5
    search: Natural = 60
    refit: NotNegative = 0.1
    refit_texts: Natural = 600
    alpha: Real = 1.0
    beta: Real = -2.0
    l1: Real = 1.0
    l2: Real = 3.0
    reward_scale: Literal["raw", "unit"] = "raw"
    evaluator: str = "reference"
    captioner: str = "reference"
    scorer: str = "reader"
    lora_rank: Count = 4
    lora: tuple[str, ...] = ("k", "v")
    adapter: bool = True
    adapter_rank: Natural | None = None
    tokens: Natural = 4
    position: Literal["end", "begin"] = "end"
    chunk: Natural = 48

    def __post_init__(self) -> None:
        if not sum(self.shares):
            raise ConfigError(f"forceforget.shares: give three weights (single, pair, benign), got {self.shares}.")
        if not self.iterations and not (self.start and self.refit):
            raise ConfigError("forceforget.iterations: 0 trains nothing; give a guard as start, and refit it.")
        if self.explorers >= self.group:
            raise ConfigError(f"forceforget.explorers: {self.explorers} of a group of {self.group}; leave one or more.")
        if self.rounds and not self.from_pictures:
            raise ConfigError(f"forceforget.rounds: {self.rounds} need pictures; leave from_pictures above 0.")
        if self.from_pictures and self.steps < 3:
            raise ConfigError(
                f"forceforget.from_pictures: of {self.steps} steps none is left to learn from; 3 at least."
            )
        if not (self.adapter or self.lora_rank):
            raise ConfigError("forceforget: neither an adapter nor LoRA (lora_rank is 0); nothing would be trained.")
        if self.prompts * self.group < self.updates:
            raise ConfigError(f"forceforget.updates: {self.updates} need as many pictures an iteration at least.")


class ForceForgetRecipe(Recipe):
    """Concept-erasing reward, policy gradient over the denoising steps, Safe Adapter and LoRA."""

    name = "forceforget"
    Settings = Settings
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {},
        "paper": {
            "iterations": 60,
            "prompts": 32,
            "group": 1,
            "shares": (1.0, 0.0, 0.0),
            "explorers": 0,
            "from_pictures": 0.0,
            "scorer": "reference",
            "shared_noise": False,
            "advantages": "prompt",
            "advantage_limit": 1.5,
            "steps": 50,
            "guidance_scale": 4.5,
            "stochastic": 1.0,
            "fraction": 1.0,
            "updates": 2,
            "delta": 3e-4,
            "lr": 1e-4,
            "cooling": 1.0,
            "l2": 1.0,
            "average": 0.0,
            "empty_gradient": True,
            "tether": 0.0,
            "refit": 0.0,
            "lora": ("q", "k", "v"),
        },
        "tiny": {
            "iterations": 2,
            "prompts": 2,
            "group": 2,
            "explorers": 1,
            "pictures": 2,
            "steps": 3,
            "updates": 2,
            "tether_prompts": 2,
            "tether_batch": 2,
            "refit_texts": 8,
            "lr": 1e-2,
        },
    }

    def train(self, bench: Workbench, run: Run) -> ForceForget:
        pool = PromptPool(self.concept, self.settings.subjects)
        reward = load_reward(self.concept, self.settings, bench.device)
        trainer = Trainer(bench, pool, reward, self.settings, run)
        trainer.train()
        tensors = trainer.tensors()
        if self.settings.refit:
            rng = np.random.default_rng([run.seed, 1_000_081])
            texts = Texts.drawn(pool, self.settings.refit_texts, rng)
            found = trainer.found(texts.benign[: self.settings.refit_texts])
            guard, mu, scale = self._guard(trainer, tensors), self.settings.refit, self.settings.guidance_scale
            tensors = refitted(guard, bench, texts, mu, scale, rng, found)
        return self._guard(trainer, {name: value.half().cpu() for name, value in tensors.items()})

    def _guard(self, trainer: Trainer, tensors: Mapping[str, Tensor]) -> ForceForget:
        bench = trainer.bench
        return ForceForget(
            self.concept,
            tensors=tensors,
            base={"unet": bench.base_of(bench.family.denoisers[0])},
            training={"images": trainer.images, "stopped": trainer.stopped, "seconds": round(trainer.seconds, 1)},
            tokens=self.settings.tokens,
            position=self.settings.position,
            rows=trainer.rows,
        )
