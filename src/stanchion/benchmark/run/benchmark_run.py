"""A spec on its way into a record: its prompts alone, its attacks, and the rows that follow."""

from __future__ import annotations

from math import inf

from ...concepts import load_concept
from ...judges import load_judge
from ...pipeline.loading import load_pipeline
from ..results.from_attacks import make_attack_rows
from ..results.row import Row, make_rows
from ..spec.prompt_spec import Spec
from ..store.attempts import Store
from ..store.manifest import file_rows, make_origin
from .attacks import RedTeam
from .image_generator import ImageGenerator
from .prompts import Runner


class BenchmarkRun:
    """The runner and the red team of one spec, with the model and the judge that it names."""

    def __init__(self, spec: Spec, store: Store) -> None:
        self.spec, self.store, self._artist = spec, store, ImageGenerator.of(spec.model)
        self._runner = Runner(spec, store, self._artist, load_judge(spec.judge, **spec.judge_settings))
        self._team = RedTeam(self._runner, self._artist, base=lambda: load_pipeline(spec.model))

    def run(self, *, until: float = inf, share: tuple[int, int] = (1, 1)) -> bool:
        """Fill every cell, or those of a share; False where the clock passed ``until`` first."""
        return self._runner.run(until=until, share=share) and self._team.run(until=until, share=share)

    def rows(self, name: str, command: str) -> list[Row]:
        """The rows of everything that is in the record; they are filed there, under the spec's name."""
        spec, judge = self.spec, self._runner.judge.identity
        rows = make_rows(spec, self.store, judge=judge, command=command)
        rows += make_attack_rows(spec, self.store, judge=judge, command=command)
        guards = self._identities()
        origin = make_origin(spec, command=command, model=self._artist.identity, judge=judge, guards=guards)
        file_rows(self.store.folder, name, origin, rows)
        return rows

    def _identities(self) -> dict[str, list[str]]:
        """What decides how each guard acts, by variant and concept."""
        return {
            f"{variant.title}, {concept}".replace("\n", " "): self._artist.identity_of(variant, load_concept(concept))
            for variant in self.spec.variants[1:]
            for concept in self.spec.concepts
        }
