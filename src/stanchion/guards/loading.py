"""Guards and stacks by name, or from the folder that ``save`` wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os.path import isdir
from pathlib import Path
from typing import Any

from .. import config, registry
from ..concepts import Concept, load_concept
from ..errors import ArtefactError, ConfigError, UnknownName
from ..files.documents import read_json
from ..files.names import file_name, inside
from ..hub.repository import fetch
from ..pipeline.stages import Stage
from ..stacks.base import is_stack, spelled_out
from .artefact import CONFIG, LIST, check_runs_nothing, read_artefact
from .base import Guard, untrained, waits_for_monitor
from .stack import GuardStack

WEIGHTS = registry.ROOT / "reference" / "weights"
REFERENCE = "reference"
SHIPPED = WEIGHTS / "guards"  # of the reference model; another model of the package shares some of its parts
OWN = {"reference-flux": WEIGHTS / "flux" / "guards"}
HUB_ID = re.compile(r"\w[\w.-]*/[\w.-]+")


def load_guard(
    source: str | Path,
    concept: str | Concept | None = None,
    *,
    revision: str | None = None,
    model: str = REFERENCE,
    **settings: Any,
) -> Guard | GuardStack:
    """A guard by its name and concept, or a saved guard or stack by its folder or its id on the Hub.

    A guard that is trained comes with the package for the built-in concepts and the reference models; for everything
    else it is trained first (``stanchion train``).

    Args:
        source: a registered name, a file and its class (``my_guard.py:Mine``), a folder, or the id of a repository on
            the Hub that holds one.
        concept: a built-in name, a YAML file or a ``Concept``; a saved guard has its own.
        revision: branch, tag or commit of the repository on the Hub; give a commit, so that the same guard comes again.
        model: of a guard that comes with the package, the model that it is for: "reference" or "reference-flux".
        settings: the guard's settings; they replace those that a guard was saved with.

    Raises:
        UnknownName: no such guard, or no such concept; or a stack's name, which ``load_stack`` takes.
        ConfigError: no name, no concept, unknown settings, settings for a stack, or a guard that must be trained first.
        ArtefactError: the folder holds no guard that can be read.
    """
    return guard_from(source, concept, settings, revision, model)


def guard_from(
    source: str | Path,
    concept: str | Concept | None,
    settings: Mapping[str, Any],
    revision: str | None = None,
    model: str = REFERENCE,
) -> Guard | GuardStack:
    """``load_guard`` for settings that somebody typed: any key may be among them, that of an argument too."""
    if not isinstance(source, str | Path):
        raise ConfigError(f"load_guard takes a guard's name, a folder or an id on the Hub, not {source!r}.")
    if registry.is_named("guards", str(source)):
        if concept is None:
            raise ConfigError(f"guard {str(source)!r}: say what it guards against, concept='weapons' for example.")
        return _by_name(registry.find("guards", str(source)), load_concept(concept), settings, model)
    if is_stack(str(source)):
        raise UnknownName(
            f"{str(source)!r} is a stack and no single guard: load_stack({str(source)!r}, concept=…) has it, and "
            f"a folder of that name is './{source}'."
        )
    folder = _folder(source, revision)
    if concept is not None:
        raise ConfigError(f"{source}: a saved guard has its own concept; leave this one out.")
    loaded = [_load(part, settings) for part in _parts(folder, settings)]
    return GuardStack(*loaded) if (folder / LIST).is_file() else loaded[0]


def load_stack(name: str, concept: str | Concept, *, model: str = REFERENCE) -> GuardStack:
    """A stack by its name ("fast", "recommended", "maximum"; docs/stacks.md), for a concept.

    Trained guards come with the package for built-in concepts and the reference models, of which ``model`` names one
    ("reference" or "reference-flux"); for everything else ``stanchion train NAME --concept … --output FOLDER`` makes a
    folder that ``load_guard`` takes.

    Raises:
        UnknownName: no such stack, or no such concept.
        ConfigError: a guard of it must be trained for this concept first.
    """
    registry.check("stacks", [name])
    return stack_of([name], load_concept(concept), {}, model)


def _check_trained(stack: str, concept: Concept, model: str) -> None:
    """Whether the package has every trained guard of a stack for a concept."""
    kinds = {guard: registry.get("guards", guard) for guard in registry.get("stacks", stack).guards}
    if missing := [guard for guard, kind in kinds.items() if kind.trained and not _shipped(kind, concept, model)]:
        raise ConfigError(
            f"stack {stack!r}: {' and '.join(missing)} must be trained for {concept.name}: run "
            f"'stanchion train {stack} --concept … --model … --output FOLDER' and give FOLDER, to load_guard in Python."
        )


def _parts(folder: Path, settings: Mapping[str, Any]) -> list[Path]:
    """The folder of a single guard, or those of a stack's guards, every one that it was saved with."""
    if not (folder / LIST).is_file():
        return [folder]
    if settings:
        raise ConfigError(f"{folder} holds a stack; settings can't be given for it as a whole.")
    where = str(folder / LIST)
    try:
        names = config.convert(tuple[str, ...], read_json(folder / LIST), where)
    except ConfigError as error:
        raise ArtefactError(str(error)) from error
    return [inside(folder, name, where, ArtefactError) for name in names]


def stack_of(
    names: Sequence[str], concept: Concept, settings: Mapping[str, Mapping[str, Any]], model: str = REFERENCE
) -> GuardStack:
    """Several guards and stacks as one stack, those of the package for ``model``.

    The concept is for those that are given by name; a saved one has its own. Settings are by guard, one of a stack too.

    Raises:
        UnknownName: no such guard.
        ConfigError: unknown settings, no guard at all, guards that can't stand together, or a stack that must be
            trained first.
    """
    for name in filter(is_stack, names):
        _check_trained(name, concept, model)
    loaded = [
        guard_from(name, concept if registry.is_named("guards", name) else None, chosen, model=model)
        for name, chosen in spelled_out(names, settings).items()
    ]
    return GuardStack(*(guard for one in loaded for guard in (one.guards if isinstance(one, GuardStack) else (one,))))


@dataclass(frozen=True)
class ForeseenGuard:
    """A guard that is not loaded yet: as much of it as decides what stands together (``in_stage_order``)."""

    name: str
    stage: Stage
    watches: bool
    concept: Concept
    settings: Any
    asks_monitor: bool


def foresee(
    names: Sequence[str], concept: Concept, settings: Mapping[str, Mapping[str, Any]], model: str = REFERENCE
) -> list[ForeseenGuard]:
    """What ``stack_of`` would load, without any tensors or judges.

    Raises:
        UnknownName: no such guard.
        ConfigError: unknown settings, or ones that don't fit; or a guard or a stack that must be trained first.
        ArtefactError: a folder holds no guard that can be read.
    """
    for name in filter(is_stack, names):
        _check_trained(name, concept, model)
    parts = spelled_out(names, settings).items()
    return [one for name, chosen in parts for one in _foreseen(name, concept, chosen, model)]


def _foreseen(name: str, concept: Concept, settings: Mapping[str, Any], model: str) -> Iterator[ForeseenGuard]:
    if not registry.is_named("guards", name):
        for part in _parts(_folder(name, None), settings):
            yield _foreseen_in(part, settings)
        return
    kind = _checked_kind(registry.find("guards", name), settings)
    if not kind.trained:
        yield _fitting(kind, concept, settings)
    elif shipped := _shipped(kind, concept, model):
        yield _foreseen_in(shipped, settings)
    else:
        raise untrained(kind.name)


def _foreseen_in(folder: Path, settings: Mapping[str, Any]) -> ForeseenGuard:
    kind, artefact = _kind_in(folder, settings), read_artefact(folder)
    check_runs_nothing(folder, artefact, settings)
    return _fitting(kind, artefact.concept, {**artefact.settings, **settings})


def _fitting(kind: type[Guard], concept: Concept, settings: Mapping[str, Any]) -> ForeseenGuard:
    chosen: Any = config.from_dict(kind.Settings, settings, where=kind.name)
    kind.check_fit(concept, chosen)
    return ForeseenGuard(kind.name, kind.stage, kind.watches, concept, chosen, waits_for_monitor(chosen))


def _checked_kind(kind: type[Guard], settings: Mapping[str, Any]) -> type[Guard]:
    """The class, if it is a guard's that has these settings: its arguments are more than these."""
    if not issubclass(kind, Guard):
        raise ConfigError(f"guard: {kind.__module__}.{kind.__qualname__} is no Guard.")
    config.from_dict(kind.Settings, settings, where=kind.name)
    return kind


def _by_name(kind: type[Guard], concept: Concept, settings: Mapping[str, Any], model: str = REFERENCE) -> Guard:
    _checked_kind(kind, settings)
    shipped = _shipped(kind, concept, model) if kind.trained else None
    return kind.load(shipped, **settings) if shipped else kind(concept, **settings)


def _shipped(kind: type[Guard], concept: Concept, model: str = REFERENCE) -> Path | None:
    """Where the package has it trained for exactly this concept; for the model itself before the reference model."""
    for place in filter(None, (OWN.get(model), SHIPPED)):
        folder = place / file_name(kind.name, concept.name)
        if (folder / CONFIG).is_file() and read_artefact(folder).concept == concept:
            return folder
    return None


def _folder(source: str | Path, revision: str | None) -> Path:
    if str(source) and isdir(source):  # the empty path would be the working folder
        if revision is not None:
            raise ConfigError(f"{str(source)!r} is a folder, which has no revision {revision!r}; leave it out.")
        return Path(source)
    if not HUB_ID.fullmatch(str(source)):
        if "/" in str(source):
            raise UnknownName(f"there is no folder {str(source)!r} that a guard could be loaded from.")
        registry.check("guards", [str(source)])  # raises, with the nearest names
    return fetch(str(source), revision)


def _load(folder: Path, settings: Mapping[str, Any]) -> Guard:
    return _kind_in(folder, settings).load(folder, **settings)


def _kind_in(folder: Path, settings: Mapping[str, Any]) -> type[Guard]:
    """The class of a saved guard, which has these settings."""
    if not (folder / CONFIG).is_file() and any(folder.glob(f"*/{CONFIG}")):
        raise ArtefactError(
            f"{folder} holds no {CONFIG} of a guard and no {LIST} of a stack. A stack that an earlier version saved is "
            "saved again: GuardStack(load_guard(…), load_guard(…)).save(FOLDER)."
        )
    return _checked_kind(registry.get("guards", read_artefact(folder).guard), settings)
