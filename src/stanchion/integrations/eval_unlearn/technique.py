"""The technique ``stanchion`` of eval-unlearn: a pipeline with our guards attached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from PIL import Image

from ... import config, content_policy
from ...concepts import load_concept
from ...config import Filled, Natural, NotNegative, Seed, checked
from ...errors import ConfigError, GuardFailed
from ...guards.loading import stack_of
from ...guards.stack import GuardStack
from ...pipeline.generation import acted_by, generate, outcome
from ...pipeline.loading import check_steps, load_pipeline
from ...stacks.base import spelled_out

UNGUARDED = "none"


@checked
@dataclass(frozen=True)
class TechniqueSettings:
    """``technique.config`` of a run. The keys that the harness knows have its names.

    Attributes:
        erase_concept: a built-in name or a YAML file.
        guard: names, stacks or saved folders by commas, or "none".
        settings: by guard, its settings.
        model: "reference", a folder or a Hub id.
        device: "cpu", "cuda", …; None for the GPU where there is one.
        num_inference_steps, guidance_scale: of every picture.
        seed: of the first picture, where the harness gives none. Its command line never does.
        batch: pictures made together.
    """

    erase_concept: Annotated[str, Filled()]
    guard: Annotated[str, Filled()]
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    model: str = "reference"
    device: str | None = None
    num_inference_steps: Natural = 20
    guidance_scale: NotNegative = 4.0
    seed: Seed = 0
    batch: Natural = 8


class GuardedTechnique:
    """What eval-unlearn calls a technique: made of ``technique.config``, asked for pictures batch by batch.

    Pictures are seeded one after the other for as long as the technique lives, so that a run's pictures do not depend
    on the batches in which the harness asks for them.

    Raises:
        ConfigError: an unknown key, settings of a guard that is not asked for, or guards that can't stand together.
        StanchionError: whatever else keeps a guard from being attached.
    """

    def __init__(self, **values: Any) -> None:
        self.settings = config.from_dict(TechniqueSettings, values, where="technique.config")
        guards = _guards(self.settings)
        self.pipeline = load_pipeline(self.settings.model, device=self.settings.device)
        self.attachment = guards.attach(self.pipeline) if guards else None
        self._drawn = 0

    def generate(self, prompts: Sequence[str], seed: int | None = None, **options: Any) -> list[Image.Image]:
        """A picture for each prompt, all of them or none.

        Args:
            seed: of the run's first picture; None takes that of the settings.
            options: ``num_inference_steps`` and ``guidance_scale``, in place of the settings'.

        Raises:
            PromptRefused: a prompt that is never drawn.
            GuardFailed: there is no picture of a prompt, which the harness would count as one that shows nothing.
            ConfigError: other options.
        """
        content_policy.check(prompts)
        chosen = config.from_dict(TechniqueSettings, {**config.to_dict(self.settings), **options}, where="generate")
        check_steps(self.pipeline, chosen.num_inference_steps)
        first = (chosen.seed if seed is None else seed) + self._drawn
        pictures: list[Image.Image] = []
        for start in range(0, len(prompts), chosen.batch):
            pictures += self._batch(list(prompts[start : start + chosen.batch]), first + start, chosen)
        self._drawn += len(prompts)
        return pictures

    def _batch(self, prompts: list[str], seed: int, chosen: TechniqueSettings) -> list[Image.Image]:
        output, report = generate(
            self.pipeline,
            range(seed, seed + len(prompts)),
            steps=chosen.num_inference_steps,
            guidance_scale=chosen.guidance_scale,
            prompt=prompts,
            output_type="pil",
        )
        drawn = outcome(output, acted_by(report, len(prompts)), seconds=0.0)
        if missing := [one.error for one in drawn if one.image is None]:
            raise GuardFailed(f"{len(missing)} of {len(prompts)} pictures were not made: {missing[0]}.")
        return [one.image for one in drawn if one.image is not None]


def _guards(settings: TechniqueSettings) -> GuardStack | None:
    """The guards, before any pipeline is loaded; None where there are none."""
    concept = load_concept(settings.erase_concept)
    names = [name.strip() for name in settings.guard.split(",")]
    if foreign := sorted(set(settings.settings) - set(parts := spelled_out(names, {}))):
        raise ConfigError(f"technique.config: settings of {', '.join(foreign)}, but the guards are {', '.join(parts)}.")
    if names == [UNGUARDED]:
        return None
    return stack_of(names, concept, settings.settings)
