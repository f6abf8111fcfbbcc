"""Draws batches with the policy's guards attached, and says what the policy makes of what they found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from .. import content_policy, registry
from ..concepts import load_concept
from ..errors import ConfigError, GuardRefused, Refused, UnsupportedPipeline
from ..files.pictures import black, blurred
from ..guards.loading import guard_from
from ..guards.stack import GuardStack
from ..pipeline.attach.looking import look, read
from ..pipeline.attach.reports import GuardReport, Report
from ..pipeline.families import family_of
from ..pipeline.generation import acted_by, outcome, seeded
from ..pipeline.loading import check_steps, image_to_image, inpainting, load_pipeline
from ..pipeline.stages import Stage
from .policy import WHEN, Policy, Rule
from .requests import GuardFinding, Picture, Seen, Shot


class Studio:
    """The pipelines of a policy's model, one a task on the same modules, each guarded by the same guards.

    Args:
        pipeline: an unguarded text-to-image pipeline; loaded as the policy says where it is None.

    Raises:
        ConfigError: guards that can't stand together, or are not for the concept of their rule.
        StanchionError: whatever else keeps a guard from being attached.
    """

    def __init__(self, policy: Policy, pipeline: Any = None) -> None:
        self.policy = policy
        pipe = pipeline or load_pipeline(policy.model)
        check_steps(pipe, policy.limits.steps)
        self.size = _native_side(pipe)
        self._rules: dict[int, Rule] = {}
        guards = []
        for rule, name, settings in policy.guards():
            for guard in _guards(rule, name, settings, policy.model):
                guards.append(guard)
                self._rules[id(guard)] = rule
        tasks = _siblings(pipe)
        self._attached = {task: GuardStack(*guards).attach(one) for task, one in tasks.items()}
        self.guards = self._attached["text"].guards

    @property
    def tasks(self) -> tuple[str, ...]:
        """What can be drawn: "text", and where the model has them "image" and "inpaint"."""
        return tuple(self._attached)

    def draw(self, shots: Sequence[Shot]) -> list[Picture | Refused | None]:
        """A picture for each shot, or why there is none; None where it is to be tried again. All of them are alike.

        Raises:
            StanchionError: a guard failed, or refused one of several; nobody gets a picture.
        """
        attached = self._attached[shots[0].ask.task]
        try:
            output, report = attached.call(**arguments_of(attached.pipeline, shots))
        except GuardRefused as found:
            if len(shots) > 1:
                raise  # each is drawn by itself then
            return [self._refused(shots[0], self._when(found), refusal_of(found))]
        drawn = outcome(output, acted_by(report, len(shots)), seconds=0.0)
        pairs = enumerate(zip(shots, drawn, strict=True))
        return [self._judged(shot, one, self._findings(report, at)) for at, (shot, one) in pairs]

    def stop_drawing(self) -> None:
        """Have what is drawn now end at its next step, by diffusers' own stop button; from another thread."""
        for attached in self._attached.values():
            attached.pipeline._interrupt = True

    def read(self, texts: Sequence[str]) -> list[Seen]:
        """What the text guards and the content policy say of each text.

        Raises:
            ConfigError: the policy has no guard that reads texts.
            GuardFailed: a guard failed.
        """
        reports = read(self._attached["text"], texts)
        refused = [{"content_policy": float(content_policy.refused(text))} for text in texts]
        return [self._seen(Stage.TEXT, reports, at, extra) for at, extra in enumerate(refused)]

    def look(self, pictures: Sequence[Image.Image]) -> list[Seen]:
        """What the output guards say of each picture.

        Raises:
            ConfigError: the policy has no guard that looks at pictures.
            GuardFailed: a guard failed.
        """
        reports = look(self._attached["text"], pictures)
        return [self._seen(Stage.OUTPUT, reports, at, {}) for at in range(len(pictures))]

    def _seen(self, stage: Stage, reports: Sequence[GuardReport], at: int, scores: dict[str, float]) -> Seen:
        if not reports:
            raise ConfigError(f"the policy has no guard of the stage {str(stage)!r}, so it can't say anything of that.")
        found = {name for name, score in scores.items() if score}
        guards = (guard for guard in self.guards if guard.stage is stage)
        for guard, told in zip(guards, reports, strict=True):
            name, acted = guard.concept.name, told.acted[at]
            scores[name] = max(scores.get(name, 0.0), highest(told, at).get("found", float(acted)))
            found |= {name} if acted else set()
        return Seen(scores, frozenset(found))

    def rule_of(self, guard: Any) -> Rule | None:
        """The rule that put a guard there; None for one that no rule did."""
        return self._rules.get(id(guard))

    def _findings(self, report: Report, at: int) -> tuple[GuardFinding, ...]:
        return tuple(
            GuardFinding(told.stage, told.guard, guard.concept.name, self._rules[id(guard)].when, highest(told, at))
            for guard, told in zip(self.guards, report.guards, strict=True)
            if told.acted[at]
        )

    def _judged(self, shot: Shot, drawn: Any, findings: tuple[GuardFinding, ...]) -> Picture | Refused | None:
        """What the strictest rule makes of a picture."""
        if drawn.image is None:
            return Refused("output", "safety_checker")
        worst = max(findings, key=lambda one: WHEN.index(one.action), default=None)
        if worst and worst.action in ("regenerate", "refuse"):
            return self._refused(shot, worst.action, Refused(worst.stage, worst.concept, worst.scores))
        return Picture(hidden(drawn.image, worst.action if worst else ""), shot.seed, findings)

    def _refused(self, shot: Shot, action: str, why: Refused) -> Refused | None:
        """Why there is no picture, or None where another seed is to be tried."""
        return None if action == "regenerate" and shot.again < self.policy.tries else why

    def _when(self, found: GuardRefused) -> str:
        """What the rule of the guard that refused says; whatever that is, there is no picture."""
        who = (found.guard, found.concept)
        return next(self._rules[id(guard)].when for guard in self.guards if (guard.name, guard.concept.name) == who)


def refusal_of(found: GuardRefused) -> Refused:
    """A guard's own refusal, as whoever asked hears it."""
    return Refused(found.stage, found.concept, {name: row[found.place] for name, row in found.scores.items()})


def _guards(rule: Rule, name: str, settings: dict[str, Any], model: str) -> tuple[Any, ...]:
    """The guard, or those of a saved stack.

    Raises:
        ConfigError: a saved one is of another concept than its rule.
    """
    concept = load_concept(rule.concept)
    named = registry.is_named("guards", name)  # a folder has its own concept
    loaded = guard_from(name, concept if named else None, settings, model=model)
    guards = loaded.guards if isinstance(loaded, GuardStack) else (loaded,)
    for guard in guards:
        if guard.concept.name != concept.name:
            raise ConfigError(f"policy: {name} guards against {guard.concept.name}, its rule says {concept.name}.")
    return guards


def _siblings(pipe: Any) -> dict[str, Any]:
    """The pipelines of each task; those that begin with a picture only where the model has them."""
    try:
        return {"text": pipe, "image": image_to_image(pipe), "inpaint": inpainting(pipe)}
    except UnsupportedPipeline:
        return {"text": pipe}


def _native_side(pipe: Any) -> int:
    """The side of the pictures that the model was trained on, in pixels."""
    denoiser = family_of(pipe).denoisers_of(pipe)[0]
    side = denoiser.config.get("sample_size") or getattr(pipe, "default_sample_size", 128)
    return (side if isinstance(side, int) else max(side)) * pipe.vae_scale_factor


def arguments_of(pipe: Any, shots: Sequence[Shot]) -> dict[str, Any]:
    """A pipeline's arguments for shots that are alike."""
    asks = [shot.ask for shot in shots]
    first, negatives = asks[0], [ask.negative for ask in asks]
    values: dict[str, Any] = {
        "prompt": [ask.prompt for ask in asks],
        "output_type": "pil",
        **seeded(pipe, [shot.seed for shot in shots], steps=first.steps, guidance_scale=first.guidance_scale),
    }
    if any(negatives):
        values["negative_prompt"] = negatives
    if first.task != "image":  # it keeps the size of the picture that it begins with
        values |= {"width": first.width, "height": first.height}
    if first.task != "text":
        values |= {"image": [ask.image for ask in asks], "strength": first.strength}
    return values | ({"mask_image": [ask.mask for ask in asks]} if first.task == "inpaint" else {})


def highest(told: GuardReport, at: int) -> dict[str, float]:
    """The highest of each of a guard's scores for a picture."""
    return {name: max(row[at] for row in series) for name, series in told.scores.items() if series}


def hidden(image: Image.Image, action: str) -> Image.Image:
    """What a rule that says "blur" or "blank" hands out in a picture's place; any other leaves it."""
    if action == "blur":
        return blurred(image)
    return black(image) if action == "blank" else image
