"""How everything is called. Whoever moves or renames something edits this file alone: the cells stay as they are."""

from __future__ import annotations

import importlib
import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[2]
Answer = dict[str, Any]  # by part, "rows" say: anything that JSON can say

PROGRAMS = {  # a module with a ``main()`` that reads the command line
    "train_reference": "stanchion.reference.train",
    "weight_attacks": "stanchion.benchmark.run.weights.__main__",
}
STUDIES = {
    "agreement",
    "forceforget_ablations",
    "guard_cost",
    "patronus",
    "phenomena",
    "reference_model",
    "steerdiff_text",
    "throughput",
    "trasce_cost",
    "weights_and_times",
}
LABELLED, SAMPLES = ROOT / "results" / "labelled", ROOT / "tests" / "prompts" / "samples"
TOKENIZER = ROOT / "src" / "stanchion" / "reference" / "weights" / "pipeline" / "tokenizer"
CLAIMED_ROWS = ROOT / "results" / "claims" / "rows.json"
METRICS = {f"reference_{name}": name for name in ("clip_score", "fid", "kid")}  # new name: old name, as in answers
GUARDS: dict[str, str] = {}  # the same
ATTEMPT: dict[str, str] = {}  # the same, of an attempt's fields


def command(*words: object) -> str:
    """What ``stanchion WORDS`` prints."""
    from stanchion.cli import main

    return _called(main, "stanchion", *words)


def program(name: str, *words: object, **constants: Any) -> str:
    """What one of PROGRAMS or STUDIES prints, run with some of its module's constants at small values."""
    where = f"stanchion.benchmark.studies.{name}" if name in STUDIES else PROGRAMS[name]
    module = importlib.import_module(where)
    for constant, value in constants.items():
        assert hasattr(module, constant), f"{name} has no {constant}"
        setattr(module, constant, value)
    return command("study", name, *words) if name in STUDIES else _called(module.main, name, *words)


def load() -> None:
    """Import what every cell needs."""
    import stanchion.benchmark.run.benchmark_run
    import stanchion.benchmark.studies.claims.run  # noqa: F401
    from stanchion import load_pipeline, registry
    from stanchion.pipeline.loading import without_progress_bars

    without_progress_bars()
    for kind in registry.FOLDERS:
        for name in registry.names(kind):
            registry.get(kind, name)
    load_pipeline("reference")


def attempts(record: Path) -> list[Answer]:
    """The attempts of a record, a dictionary each."""
    files = sorted(record.glob("attempts*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


def reference_cells() -> dict[str, Any]:
    """What is measured of the reference model, by name."""
    from stanchion.benchmark.studies._reference_model.cells import CELLS

    return dict(CELLS)


def claims_page() -> str:
    """What the claims' page says of rows that are given."""
    from stanchion.benchmark.results.row import read_rows
    from stanchion.benchmark.studies.claims import page
    from stanchion.benchmark.studies.claims.claim import load_claims

    return page.page(load_claims(), read_rows(CLAIMED_ROWS))


def attacked_weights(name: str, guard: str, settings: Mapping[str, Any]) -> Iterator[tuple[int, Answer]]:
    """Updates, and the weights of a released model by its parts, as an attack has left them until the next."""
    from stanchion import load_concept, load_guard, load_pipeline, registry
    from stanchion.benchmark.run.weights.finetuning_data import of_drafts
    from stanchion.benchmark.run.weights.goals import goal_of
    from stanchion.benchmark.spec.weight_spec import Trial
    from stanchion.pipeline.model.workbench import Workbench
    from stanchion.pipeline.release import merge

    concept, pipe = load_concept("weapons"), load_pipeline("reference")
    merge(pipe, [load_guard(guard, concept)])
    material = of_drafts(goal_of(Trial((guard,), name), concept).taught, 16, 7)
    attack = registry.get("attacks", name)(**settings)
    for updates in attack.run(Workbench(pipe), material, public=Workbench(load_pipeline("reference")), seed=0):
        yield updates, {part: _own(getattr(pipe, part).state_dict()) for part in ("text_encoder", "unet", "vae")}


def _own(state: Mapping[str, Any]) -> dict[str, Any]:
    """A module's weights under their own names, without the adapters that peft puts beside them."""
    return {name.replace(".base_layer", ""): value for name, value in state.items() if ".lora_" not in name}


def trained_small(name: str, folder: Path) -> Mapping[str, torch.Tensor]:
    """What a recipe's tiny preset trains on the small pipeline of the tests."""
    import tiny
    from stanchion.training.recipe import train_guard

    guard = train_guard(name, tiny.pipeline(), "weapons", folder, preset="tiny", **tiny.settings(name))
    tensors: Mapping[str, torch.Tensor] = guard.tensors
    return tensors


def _called(main: Callable[[], object], *words: object) -> str:
    said, blamed, sys.argv = io.StringIO(), io.StringIO(), [str(word) for word in words]
    with redirect_stdout(said), redirect_stderr(blamed):
        try:
            main()
        except SystemExit as left:
            if left.code:
                raise RuntimeError(f"{' '.join(sys.argv)} ended with {left.code}: {blamed.getvalue()}") from left
    return said.getvalue()
