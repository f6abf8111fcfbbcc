"""What a server guards against and what it does then: one YAML file, read strictly.

model: reference
concepts:
  - {concept: weapons, guards: [steerdiff], when: steer}
  - {concept: weapons, guards: [picture_check], when: refuse}
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from .. import config, registry
from ..concepts import load_concept
from ..config import Count, Filled, Natural, NotNegative, Positive
from ..errors import ConfigError, UnknownName
from ..stacks.base import check_named, spelled_out
from .requests import STEP

if TYPE_CHECKING:
    from ..guards.loading import ForeseenGuard

When = Literal["steer", "say", "blur", "blank", "regenerate", "refuse"]
WHEN: tuple[When, ...] = ("steer", "say", "blur", "blank", "regenerate", "refuse")  # the last of several counts
DIGITS = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class Rule:
    """A concept, its guards, and what happens to a picture on which one of them acted.

    Attributes:
        concept: a built-in name, or a YAML file.
        guards: names of guards or stacks, or folders of saved guards, whose concept must be the same.
        settings: of each guard, by the name that stands in ``guards``, or by its own where a stack brings it.
        when: "steer" hands out what the guard made of it, "say" too and says so; "blur" and "blank" hide the picture;
            "regenerate" draws it with another seed, ``Policy.tries`` times at most, and then refuses; "refuse"
            answers with an error.
    """

    concept: str
    guards: Annotated[tuple[str, ...], Filled()]
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    when: When = "steer"


@dataclass(frozen=True)
class Key:
    """Somebody who may ask.

    Attributes:
        name: goes into the audit log, where the key itself never does.
        sha256: of the key, 64 hex digits; ``stanchion policy key`` makes both.
        per_minute: pictures.
    """

    name: Annotated[str, Filled()]
    sha256: str
    per_minute: Natural = 60


@dataclass(frozen=True)
class Limits:
    """What one request may ask for, and how many may wait.

    Attributes:
        body_bytes: of a request.
        body_seconds: in which a request must have been sent: its head, and then its body.
        connections: open ones; what is beyond gets 503.
        prompt_characters: of a prompt.
        pictures: ``n`` at most.
        sides: the smallest and the largest width and height that are drawn, in pixels; a multiple of 8 lies between
            them. Where nothing is said, from 16 to twice the model's own: beyond that a picture takes many times as
            long, and hardly any model draws one well.
        sent_side: the largest width or height of a picture that is sent.
        steps: denoising steps at most.
        queue: pictures that may wait; what is beyond gets 429.
        seconds: from the asking to the answer; what is not drawn by then gets 503.
        batch: pictures drawn together at most.
        wait_ms: how long the first of a batch waits for others.
    """

    body_bytes: Natural = 16_000_000
    body_seconds: Positive = 30.0
    connections: Natural = 256
    prompt_characters: Natural = 4_000
    pictures: Natural = 10
    sides: tuple[Natural, Natural] | None = None
    sent_side: Natural = 2048
    steps: Natural = 100
    queue: Natural = 64
    seconds: Positive = 120.0
    batch: Natural = 8
    wait_ms: Count = 10

    def __post_init__(self) -> None:
        if self.sides is None:
            return
        low, high = self.sides
        if high // STEP * STEP < low:
            wrong = "the first is above the second" if low > high else f"no multiple of {STEP} lies between them"
            raise ConfigError(f"limits.sides are {low} and {high}: {wrong}, so no picture could be asked for.")

    def sides_of(self, native: int) -> tuple[int, int]:
        """``sides``, for a model whose own pictures have sides of ``native`` pixels."""
        return self.sides or (16, max(16, 2 * native))


@dataclass(frozen=True)
class Audit:
    """Where it is written down what was asked and done.

    Attributes:
        file: JSON lines; None writes nowhere.
        prompts: whether the prompts' text is written, too.
        rotate_bytes: a file that has grown to this is renamed, and a new one begun.
        keep: renamed files that are kept; older ones are deleted.
    """

    file: Path | None = None
    prompts: bool = False
    rotate_bytes: Natural = 50_000_000
    keep: Natural = 10


@dataclass(frozen=True)
class Replicas:
    """Services that draw side by side, with ``stanchion serve --ray``.

    Attributes:
        least, most: how many there are.
        busy: requests under way at each, above which one more is started, and below which one is ended.
        cpus, gpus: that each one holds; a part of a GPU where several share it.
    """

    least: Natural = 1
    most: Natural = 1
    busy: Positive = 8.0
    cpus: Natural = 1
    gpus: NotNegative = 0.0

    def __post_init__(self) -> None:
        if self.least > self.most:
            raise ConfigError(f"replicas.least is {self.least}, above replicas.most, {self.most}.")


@dataclass(frozen=True)
class PlaygroundSettings:
    """The page at ``/``: prompts tried with other guards, on a model of its own, and what each guard did.

    Attributes:
        enabled: whether there is one.
        unguarded: whether it may draw without guards, and switch those of the policy off.
        record: a folder that ``stanchion bench`` filled, whose attempts it lists; it is only read.
    """

    enabled: bool = False
    unguarded: bool = False
    record: Path | None = None

    def __post_init__(self) -> None:
        if not self.enabled and (self.unguarded or self.record):
            raise ConfigError("playground has settings and is off; say enabled: true, or leave them out.")


USUAL = (Rule("weapons", ("steerdiff",)), Rule("weapons", ("picture_check",), when="refuse"))


@dataclass(frozen=True)
class Policy:
    """All of it.

    Attributes:
        model: "reference", a folder, or a Hub id.
        concepts: what is guarded against.
        steps, guidance_scale: where a request does not say.
        tries: further seeds for "regenerate".
        keys: who may ask; empty for everybody.
        replicas: how many draw, on a Ray cluster.
    """

    model: str = "reference"
    concepts: Annotated[tuple[Rule, ...], Filled()] = USUAL
    steps: Natural = 20
    guidance_scale: NotNegative = 4.0
    tries: Count = 3
    keys: tuple[Key, ...] = ()
    limits: Limits = field(default_factory=Limits)
    audit: Audit = field(default_factory=Audit)
    replicas: Replicas = field(default_factory=Replicas)
    playground: PlaygroundSettings = field(default_factory=PlaygroundSettings)

    def __post_init__(self) -> None:
        if self.steps > self.limits.steps:
            raise ConfigError(f"steps is {self.steps}, above limits.steps, {self.limits.steps}.")
        if self.limits.pictures > self.limits.queue:
            raise ConfigError(f"limits.pictures is {self.limits.pictures}, and the queue holds fewer.")
        names = [key.name for key in self.keys]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"keys: two have the same name, {twice[0]!r}; the audit log could not tell them apart.")
        for key in self.keys:
            if len(key.sha256) != 64 or not set(key.sha256) <= DIGITS:
                raise ConfigError(
                    f"keys: sha256 of {key.name!r} is not 64 hex digits; 'stanchion policy key' makes one."
                )

    @property
    def served_name(self) -> str:
        """What clients call the model: a folder by its own name."""
        return Path(self.model).name if Path(self.model).is_dir() else self.model

    def key_of(self, secret: str) -> Key | None:
        """Whose key that is; None where it is nobody's."""
        digest = hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
        return next((key for key in self.keys if hmac.compare_digest(key.sha256, digest)), None)

    def guards(self) -> Iterator[tuple[Rule, str, dict[str, Any]]]:
        """Every guard that is to be attached, those of stacks too: its rule, its name or folder, its settings."""
        for rule in self.concepts:
            for name, settings in spelled_out(rule.guards, rule.settings).items():
                if name == "picture_check" and rule.when == "blur":  # it would be black before it is blurred
                    settings = {"action": "blur", **settings}
                yield rule, name, settings


def load_policy(path: str | Path | None = None) -> Policy:
    """A policy from a YAML file, its guards looked up and held against its rules; the default one where there is no
    file. Loads no model, and of saved guards only what describes them; a file's guards are classes, which load torch.

    Raises:
        ConfigError: no such file, an unknown key, a value that makes no sense; settings that a guard does not take, a
            guard that must be trained first or is of another concept than its rule, or guards that can't stand
            together. The message has the file's name and the rule's place.
        UnknownName: a guard or a concept that nobody knows.
    """
    if path is None:
        return Policy()
    policy = config.load(Policy, path)
    _check_rules(policy, Path(path).name)
    return policy


def _check_rules(policy: Policy, where: str) -> None:
    from ..pipeline.attach.attachment import in_stage_order  # torch, which a policy without a file does not need

    guards = []
    for place, rule in enumerate(policy.concepts):
        with config.placed(f"{where}.concepts[{place}]"):
            guards += _foreseen(rule, policy.model)
    with config.placed(f"{where}.concepts"):
        in_stage_order(tuple(guards))


def _foreseen(rule: Rule, model: str) -> list[ForeseenGuard]:
    """The guards that a rule would attach, none of them loaded."""
    from ..guards.loading import foresee

    concept, parts = load_concept(rule.concept), spelled_out(rule.guards, {})
    check_named(name for name in rule.guards if not Path(name).is_dir())
    for name in rule.settings:
        if name not in parts:
            raise UnknownName(f"settings: {registry.unknown('guard', name, parts)}")
    guards = foresee(rule.guards, concept, rule.settings, model)
    for guard in guards:
        if guard.concept.name != concept.name:
            raise ConfigError(
                f"a saved {guard.name} was made against {guard.concept.name}, and its rule is about {concept.name}; "
                "give one that was made against that, or put it into a rule of its own."
            )
    return guards
