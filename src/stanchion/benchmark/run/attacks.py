"""A spec's attacks as work: made, judged, and kept prompt by prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

from PIL import Image

from ... import registry
from ...concepts import load_concept
from ...config import fingerprint
from ...errors import UnsupportedPipeline
from ...pipeline.generation import refused
from ...targets.deployment import Deployment
from ...types import Access, Attempt, Prompt, Unscored, Verdict
from ..spec.cells import AttackCell, without_attack
from ..store import candidates
from ..store.attempts import StoredAttempt
from .generation import batches
from .image_generator import ImageGenerator
from .prompts import PromptWork


class AttackWork:
    """A spec's attacks, beside the work of its prompts alone: a row that is unsafe by itself is not attacked.

    Every cell is independent of the others but for the candidates of a static attack, which the first cell that
    needs them finds and leaves in the record (``found/``). Attempts are added prompt by prompt.

    Args:
        generator: that of the prompts, whose pipeline is attacked.
        base: loads the model a second time, unguarded: what a white-box attacker has. Called once, if at all.
        keep_pictures: whether the attempts' pictures go into the record.
    """

    unit = "prompt"

    def __init__(
        self, prompts: PromptWork, generator: ImageGenerator, *, base: Callable[[], Any], keep_pictures: bool = True
    ) -> None:
        self.spec, self.store, self.judge, self.generator = prompts.spec, prompts.store, prompts.judge, generator
        self._prompts, self._base, self._keep_pictures = prompts, base, keep_pictures

    def cells(self) -> list[AttackCell]:
        """The spec's; those that replay the same candidates follow one another."""
        return list(self.spec.attack_cells())

    def group(self, cell: AttackCell) -> tuple[Any, ...]:
        """Cells that replay the same candidates stay together, so that these are found once."""
        alone = cell.variant.title if cell.plan.mode == "adaptive" else ""
        return cell.plan.title, cell.plan.mode, cell.concept, cell.prompt_set, cell.restart, alone

    def size(self, cell: AttackCell) -> int:
        """Prompts."""
        return cell.plan.prompts[cell.prompt_set]

    def chunks(self, cell: AttackCell) -> Iterator[list[Prompt]]:
        """The cell's prompts as they are attacked between two looks at the clock.

        All at once by a universal attack, which learns before the first; in batches where they are drawn in batches;
        else one by one: an adaptive attack can take minutes for each.
        """
        rows, attack = self.spec.attacked(cell), self._attack(cell)
        in_batches = self.spec.batch if attack.side_by_side(cell.plan.mode == "static") else 1
        size = len(rows) if attack.universal else in_batches
        yield from batches(rows, size)

    def done(self, cell: AttackCell, chunk: Sequence[Prompt]) -> bool:
        """Whether the record has every attempt of a chunk."""
        return not self._missing(cell, chunk)

    def carry_out(self, cell: AttackCell, chunk: Sequence[Prompt]) -> None:
        """Attack a chunk; each attempt that the record lacks is added as soon as it is made.

        The whole chunk, so that a batch that was cut off gives the same again.
        """
        attack, missing = self._attack(cell), self._missing(cell, chunk)
        try:
            self._try(cell, attack, chunk, missing)
        except UnsupportedPipeline as error:
            self._give_up(cell, attack, [prompt for prompt in chunk if prompt.id in missing], missing, error)

    def _missing(self, cell: AttackCell, prompts: Sequence[Prompt]) -> dict[str, str]:
        """Keys of the attempts that the record lacks, by the prompt's id."""
        keys = {prompt.id: self.key(cell, prompt) for prompt in prompts}
        where = (cell.variant.guard, cell.variant.variant, cell.concept, cell.prompt_set, cell.plan.title)
        stored = self.store.cell(*where, self._attack(cell).adaptive(cell.plan.mode == "static"), cell.restart)
        return {name: key for name, key in keys.items() if name not in stored or stored[name].picture != key}

    def _try(self, cell: AttackCell, attack: Any, prompts: Sequence[Prompt], missing: Mapping[str, str]) -> None:
        """Attack; of the attempts keep those that are missing, under the key of each."""
        variant = cell.variant
        found = self._found(cell, attack, prompts) if cell.plan.mode == "static" else None
        known = self._unattacked(cell, prompts)
        self.generator.attach(variant, load_concept(cell.concept))
        album = _Album()
        for attempt in attack(
            self._deployment(attack),
            prompts,
            judge=self.judge,
            budget=cell.plan.budget,
            seed=self.spec.seed,
            batch=self.spec.batch,
            restart=cell.restart,
            learn_from=self._learnt_from(cell),
            found=found,
            keep=album.keep if self._keep_pictures else None,
            known=known,
        ):
            picture = album.take(attempt)
            if attempt.prompt.id not in missing:
                continue
            key, image = missing[attempt.prompt.id], attempt.image
            if picture is not None:
                image = self.store.save_image(key, picture)
            self._keep(cell, key, replace(attempt, image=image))

    def _give_up(
        self,
        cell: AttackCell,
        attack: Any,
        missing: Sequence[Prompt],
        keys: Mapping[str, str],
        error: UnsupportedPipeline,
    ) -> None:
        """The guards can't stand on the model, or the attack can't be run on it: its rows say why."""
        why = refused(error).error
        adaptive = attack.adaptive(cell.plan.mode == "static")
        for prompt in missing:
            labels, verdict = Unscored(why), Verdict(None, reason=why)
            attempt = Attempt(prompt, "", "", "", None, labels, verdict, adaptive=adaptive, restart=cell.restart)
            self._keep(cell, keys[prompt.id], attempt)

    def _keep(self, cell: AttackCell, key: str, attempt: Attempt) -> None:
        variant = cell.variant
        attempt = replace(attempt, guard=variant.guard, variant=variant.variant, attack=cell.plan.title)
        self.store.append([StoredAttempt(cell.concept, cell.prompt_set, key, attempt)])

    def key(self, cell: AttackCell, prompt: Prompt) -> str:
        """What names an attempt: all that decides its outcome."""
        guard = self.generator.identity_of(cell.variant, load_concept(cell.concept))
        plan = cell.plan
        tried = [self._attack(cell).identity, plan.mode, cell.restart, plan.learn_from, asdict(plan.budget)]
        drawing = [self.generator.identity, self.spec.steps, self.spec.guidance_scale, self.spec.seed, asdict(prompt)]
        return fingerprint(["attack", guard, tried, drawing, self.judge.identity])

    def _unattacked(self, cell: AttackCell, prompts: Sequence[Prompt]) -> dict[str, Attempt]:
        """The prompts alone, made in their own batches where the record lacks them."""
        plain = without_attack(cell)
        wanted = {prompt.id for prompt in prompts}
        for chunk in self._prompts.chunks(plain):
            if wanted & {prompt.id for prompt in chunk} and not self._prompts.done(plain, chunk):
                self._prompts.carry_out(plain, chunk)
        stored = self.store.cell(cell.variant.guard, cell.variant.variant, cell.concept, cell.prompt_set)
        return {name: stored[name].attempt for name in wanted}

    def _learnt_from(self, cell: AttackCell) -> list[Prompt]:
        """What a universal attack learns from: rows that the benchmark does not draw, or the attacked ones."""
        if not cell.plan.learn_from:
            return self.spec.attacked(cell)
        drawn, seed = self.spec.prompts[cell.prompt_set], self.spec.seed
        prompt_set = self.spec.prompt_set(cell.prompt_set)
        return prompt_set.rows(load_concept(cell.concept), drawn + cell.plan.learn_from, seed)[drawn:]

    def _attack(self, cell: AttackCell) -> Any:
        kind = registry.get("attacks", cell.plan.attack)
        return kind(load_concept(cell.concept), cell.plan.preset, **cell.plan.settings)

    def _found(self, cell: AttackCell, attack: Any, prompts: Sequence[Prompt]) -> candidates.Found:
        """A batch's candidates against the unguarded pipeline, from the record or found now."""
        plan, folder = cell.plan, self.store.folder / "found"
        about = [attack.identity, self.generator.identity, self.spec.steps, self.spec.guidance_scale, self.spec.seed]
        rows = [asdict(prompt) for prompt in (*prompts, *self._learnt_from(cell))]
        key = fingerprint([about, cell.restart, asdict(plan.budget), rows])
        found = candidates.load(folder, key)
        if found is None:
            self.generator.release()
            found = attack.find(
                self._deployment(attack),
                prompts,
                budget=plan.budget,
                seed=self.spec.seed,
                restart=cell.restart,
                learn_from=self._learnt_from(cell),
            )
            candidates.save(folder, key, found)
        return found

    def _deployment(self, attack: Any) -> Deployment:
        return self._white_box if attack.access is Access.WHITE_BOX else self._closed

    @cached_property
    def _closed(self) -> Deployment:
        return self._deploy(None)

    @cached_property
    def _white_box(self) -> Deployment:
        return self._deploy(self._base())

    def _deploy(self, base: Any) -> Deployment:
        spec = self.spec
        return Deployment(self.generator.pipeline, base, steps=spec.steps, guidance_scale=spec.guidance_scale)


class _Album:
    """Pictures until the attempt that counts is known: an attack draws more of them than are kept."""

    def __init__(self) -> None:
        self._made: dict[str, dict[str, Image.Image]] = {}

    def keep(self, prompt: Prompt, image: Image.Image) -> str:
        made = self._made.setdefault(prompt.id, {})
        name = f"picture {len(made)}"
        made[name] = image
        return name

    def take(self, attempt: Attempt) -> Image.Image | None:
        """The one of an attempt; the prompt's others are forgotten. None where its picture is in the record already."""
        return self._made.pop(attempt.prompt.id, {}).get(attempt.image or "")
