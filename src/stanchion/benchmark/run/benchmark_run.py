"""A spec on its way into a record: its prompts alone, its attacks, and the rows that follow."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from ...concepts import load_concept
from ...files.names import file_name
from ...files.shards import ALL, Shard
from ...judges import load_judge
from ...judges.base import Judge
from ...pipeline.loading import load_pipeline
from ..results.from_attacks import make_attack_rows
from ..results.row import Row, make_rows
from ..spec.prompt_spec import Spec
from ..store.attempts import Store
from ..store.manifest import file_rows, make_origin
from .attacks import AttackWork
from .image_generator import ImageGenerator
from .prompts import PromptWork


@dataclass(frozen=True)
class BenchmarkJob:
    """A spec and the folder of the record that it fills; of one concept alone where that is said."""

    spec: Spec
    folder: Path
    concept: str = ""
    kinds: ClassVar[int] = 2
    _loaded: list[tuple[ImageGenerator, Judge]] = field(default_factory=list, repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process loads for itself."""
        return type(self), (self.spec, self.folder, self.concept)

    def works(self, shard: Shard = ALL) -> tuple[PromptWork, AttackWork]:
        """The prompts alone, then the attacks, which are compared with them."""
        return self.open(shard).works

    def open(self, shard: Shard = ALL) -> BenchmarkRun:
        """The record as it is now, of which the shard's own part is written; model and judge are loaded once."""
        if not self._loaded:
            judge = load_judge(self.spec.judge, **self.spec.judge_settings)
            self._loaded.append((ImageGenerator.of(self.spec.model), judge))
        names = [*([self.concept] if self.concept else []), *([] if shard.whole else [str(shard).replace("/", "of")])]
        spec = replace(self.spec, concepts=(self.concept,)) if self.concept else self.spec
        return BenchmarkRun(spec, Store(self.folder, file_name(*names) if names else ""), *self._loaded[0])


class BenchmarkRun:
    """The works of one spec, with the model and the judge that it names."""

    def __init__(self, spec: Spec, store: Store, generator: ImageGenerator, judge: Judge) -> None:
        self.spec, self.store, self.generator = spec, store, generator
        prompts = PromptWork(spec, store, generator, judge)
        self.works = prompts, AttackWork(prompts, generator, base=lambda: load_pipeline(spec.model))

    def rows(self, name: str, command: str) -> list[Row]:
        """The rows of everything that is in the record; they are filed there, under the spec's name."""
        spec, judge = self.spec, self.works[0].judge.identity
        rows = make_rows(spec, self.store, judge=judge, command=command)
        rows += make_attack_rows(spec, self.store, judge=judge, command=command)
        guards = self._identities()
        origin = make_origin(spec, command=command, model=self.generator.identity, judge=judge, guards=guards)
        file_rows(self.store.folder, name, origin, rows)
        return rows

    def _identities(self) -> dict[str, list[str]]:
        """What decides how each guard acts, by variant and concept."""
        return {
            f"{variant.title}, {concept}".replace("\n", " "): self.generator.identity_of(variant, load_concept(concept))
            for variant in self.spec.variants[1:]
            for concept in self.spec.concepts
        }
