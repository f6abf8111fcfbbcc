"""Prompts of whoever types the command, from a file: as rows to draw, and as a spec to measure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .. import config, registry
from ..concepts import BUILT_IN, Role
from ..errors import ConfigError
from .asked import concept_of, names_of
from .outputs import check_folder

if TYPE_CHECKING:
    from ..concepts import Concept
    from ..types import Prompt

NAME = "file"


def rows_of(file: Path, concept: Concept, seed: int) -> list[Prompt]:
    """Every row, in the file's order; one without a seed gets ``seed`` plus its place.

    Raises:
        ConfigError: the file can't be read as a table of prompts.
    """
    from ..prompts.tables import Selection

    prompt_set = registry.get("prompts", NAME)(Selection(str(file)))
    rows: list[Prompt] = prompt_set.rows(concept, len(prompt_set.lines), seed)
    return rows


def write_spec(
    file: Path,
    output: Path | None,
    *,
    guards: Sequence[str] | None,
    concept: str | None,
    role: Role | None,
    model: str | None,
    judge: str | None,
) -> Path:
    """A spec of the file alone, in the folder of its record; every guard is compared with none.

    Where nobody says so, TraSCE is measured on the reference model, by its judge, and the prompts are unsafe ones.

    Raises:
        ConfigError: the file can't be read, or the folder can't be written to.
    """
    from ..benchmark.spec.prompt_spec import Spec
    from ..benchmark.spec.variant import UNGUARDED, Variant
    from ..prompts.tables import Selection

    names = [names_of(guard) for guard in guards or ["trasce"]]
    meant = concept_of([name for several in names for name in several], concept)
    name = file.stem if not registry.is_named("prompts", file.stem) else NAME
    folder = check_folder(output or Path("runs") / name)
    spec = Spec(
        seed=0,
        concepts=(_named(meant, folder),),
        variants=(Variant(UNGUARDED), *(Variant("+".join(several)) for several in names)),
        prompts={name: len(rows_of(file, meant, 0))},
        tables={name: Selection(str(file.absolute()), role=role or "unsafe")},
        guidance_scale=4.0,
        model=model or "reference",
        judge=judge or "reference",
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(config.dump(spec), encoding="utf-8")
    return folder / f"{name}.yaml"


def _named(concept: Concept, folder: Path) -> str:
    """The concept as a spec names it: a built-in one, or a file beside the spec."""
    if BUILT_IN.get(concept.name) == concept:
        return concept.name
    folder.mkdir(parents=True, exist_ok=True)
    (path := folder / "concept.yaml").write_text(config.dump(concept), encoding="utf-8")
    return str(path.absolute())


def check_alone(file: Path | None, other: object, what: str) -> None:
    """Raise unless there is either a file of prompts or the other thing.

    Raises:
        ConfigError: both, or neither.
    """
    if (file is None) == (not other):
        raise ConfigError(f"give {what} or --prompts FILE, {'one of them' if file is None else 'not both'}.")
