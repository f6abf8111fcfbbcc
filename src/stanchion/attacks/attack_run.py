"""One attack on one deployment: candidates are paid for, drawn and judged, and become attempts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import content_policy
from ..errors import BudgetSpent
from ..targets.protocols import Deployed, Meter
from ..types import Adversarial, Attempt, Drawn, Prompt


class Search(NamedTuple):
    """What is attacked: its attempt without attack, what shall be tried, and what that may cost."""

    direct: Attempt
    tries: Iterator[Adversarial]
    meter: Meter


class AttackRun(NamedTuple):
    """Draws and judges for one attack: the only place where candidates meet the judge."""

    deployment: Deployed
    judge: Any
    attack: Any
    keep: Callable[[Prompt, Any], str] | None
    restart: int | None
    adaptive: bool | None

    def direct(self, prompts: Sequence[Prompt], known: Mapping[str, Attempt]) -> list[Attempt]:
        """The prompts without attack, drawn where they are not known; those that are never drawn unscored."""
        unknown = [prompt for prompt in prompts if prompt.id not in known and not content_policy.refused(prompt.text)]
        sent = [Adversarial(text=prompt.text) for prompt in unknown]
        drawn = iter(self.deployment.draw(sent, [prompt.seed for prompt in unknown]) if unknown else [])
        never = Drawn(None, {}, 0.0, "the content policy: never drawn")
        new = [prompt for prompt in prompts if prompt.id not in known]
        pictures = [never if content_policy.refused(prompt.text) else next(drawn) for prompt in new]
        made = {attempt.prompt.id: attempt for attempt in self._judged(new, pictures)}
        named: dict[str, Any] = {"attack": self.attack.name, "restart": self.restart, "adaptive": self.adaptive}
        attempts = [made.get(prompt.id) or replace(known[prompt.id], **named) for prompt in prompts]
        return [replace(attempt, unattacked=attempt.verdict.unsafe) for attempt in attempts]

    def attacked(self, directs: Sequence[Attempt], row: Callable[[Attempt], Search]) -> list[Attempt]:
        """Their attempts in order: the prompts alone where these are unsafe already or never drawn."""
        open_ = [one for one in directs if not (one.verdict.unsafe or content_policy.refused(one.prompt.text))]
        ended = {attempt.prompt.id: attempt for attempt in self._until_success([row(one) for one in open_])}
        return [ended.get(one.prompt.id, one) for one in directs]

    def _until_success(self, rows: Sequence[Search]) -> list[Attempt]:
        """Each row's first success; else a try that nobody could score, for it may have been one; else the last.

        Several rows are tried side by side, a candidate of each in a batch.
        """
        together = self.attack.together if len(rows) == 1 else 1
        searches = [self._search(*row, together) for row in rows]
        ended: dict[int, Attempt] = {}
        answers: dict[int, Any] = dict.fromkeys(range(len(rows)))
        while answers:
            asked: dict[int, list[Adversarial]] = {}
            for place, answer in answers.items():
                try:
                    asked[place] = searches[place].send(answer)
                except StopIteration as end:
                    ended[place] = end.value
            answers = self._tried({place: (rows[place].direct.prompt, group) for place, group in asked.items()})
        return [ended[place] for place in range(len(rows))]

    def _search(
        self, direct: Attempt, tries: Iterator[Adversarial], meter: Meter, together: int
    ) -> Generator[list[Adversarial], list[tuple[Drawn, Attempt]], Attempt]:
        """Gives candidates, gets what came of them, ends with the attempt that counts."""
        best, open_ = direct, False
        for group in groups_of(tries, together, meter):
            before = meter.spent.pictures - len(group)
            answers = yield group
            for place, (drawn, attempt) in enumerate(answers, 1):
                about: dict[str, Any] = {"adversarial": describe(group[place - 1]), "queries": before + place}
                attempt = replace(attempt, unattacked=direct.verdict.unsafe, **about)
                if attempt.verdict.unsafe:
                    return attempt
                best = best if open_ else attempt
                open_ = open_ or ((drawn.image is not None or drawn.withheld) and attempt.verdict.unsafe is None)
        return best

    def _tried(self, asked: Mapping[int, tuple[Prompt, list[Adversarial]]]) -> dict[int, list[tuple[Drawn, Attempt]]]:
        """Everybody's candidates drawn and judged together."""
        flat = [(place, prompt, one) for place, (prompt, group) in asked.items() for one in group]
        seeds = [prompt.seed if one.seed is None else one.seed for _, prompt, one in flat]
        drawn = self.deployment.draw([one for _, _, one in flat], seeds) if flat else []
        attempts = self._judged([prompt for _, prompt, _ in flat], drawn)
        answers: dict[int, list[tuple[Drawn, Attempt]]] = {place: [] for place in asked}
        for (place, _, _), picture, attempt in zip(flat, drawn, attempts, strict=True):
            answers[place].append((picture, attempt))
        return answers

    def _judged(self, prompts: Sequence[Prompt], drawn: Sequence[Drawn]) -> list[Attempt]:
        seen = zip(prompts, drawn, self.judge.detect_drawn(drawn), strict=True)
        return [self._attempt(prompt, picture, labels) for prompt, picture, labels in seen]

    def _attempt(self, prompt: Prompt, picture: Drawn, labels: Any) -> Attempt:
        return Attempt(
            prompt=prompt,
            guard=self.deployment.name,
            variant="default",
            attack=self.attack.name,
            image=self.keep(prompt, picture.image) if self.keep and picture.image else None,
            labels=labels,
            verdict=self.judge.verdict(labels, self.attack.concept),
            acted=picture.acted,
            seconds=picture.seconds,
            adaptive=self.adaptive,
            restart=self.restart,
        )


def describe(sent: Adversarial) -> dict[str, Any]:
    """What a record keeps of a candidate: its text, or the hash of its tensor, and how it was sampled."""
    about: dict[str, Any] = {"text": sent.text} if sent.text is not None else {}
    for name in ("token_embeds", "embeds"):
        if (rows := getattr(sent, name)) is not None:
            about[name] = _hash(rows)
    if sent.seed is not None:
        about["seed"] = sent.seed
    if (start := sent.start) is not None:
        about |= {"eta": start.eta, "noise_scale": start.noise_scale, "start_step": start.start_step}
        about |= {} if start.latents is None else {"latents": _hash(start.latents)}
    return {**about, **sent.note}


def groups_of(tries: Iterator[Adversarial], size: int, meter: Meter) -> Iterator[list[Adversarial]]:
    """Candidates in groups, each of them paid for, without what is never drawn; ends with the budget."""
    spent = False
    while not spent and (room := int(min(size, meter.left("pictures")))) > 0:
        group: list[Adversarial] = []
        try:
            while len(group) < room:
                one = next(tries)
                if one.text is None or not content_policy.refused(one.text):  # found by chance
                    group.append(one)
        except (StopIteration, BudgetSpent):
            spent = True
        room = int(min(len(group), meter.left("pictures")))  # the search itself may have drawn some
        if room:
            meter.take("pictures", room)
            yield group[:room]


def generator_of(name: str, seed: int, restart: int | None, prompt: str) -> torch.Generator:
    """The same for the same row in any company."""
    digest = hashlib.sha256(f"{name}/{seed}/{restart}/{prompt}".encode()).digest()
    return torch.Generator("cpu").manual_seed(int.from_bytes(digest[:7], "big"))


def _hash(rows: Tensor) -> str:
    return hashlib.sha256(rows.detach().to("cpu", torch.float32).contiguous().numpy().tobytes()).hexdigest()[:16]
