"""Cells of commands and studies."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import entries
import yaml
from answers import Answer, files_of, hashed, in_order, pictures, rows, tables, tensors_of
from benches import NONE, SMALL, VARIANTS, Cell
from entries import LABELLED, TOKENIZER, command, program
from PIL import Image


def card(folder: Path) -> Answer:
    """Training by the command line, and the card's numbers."""
    command("train", "uce", "--concept", "weapons", "--preset", "tiny", "--measure", 2, "--output", folder / "uce")
    text = (folder / "uce" / "README.md").read_text(encoding="utf-8")
    tensors = {file.name: hashed(tensors_of(file)) for file in sorted((folder / "uce").glob("*.safetensors"))}
    return {"tensors": tensors, "table": tables(text), "pictures": pictures(folder / "uce")}


def export(folder: Path) -> Answer:
    guards = "patronus_hardening,patronus_moderator"
    command("export", "--guards", guards, "--concept", "weapons", "--output", folder / "model")
    files = files_of(folder, ".safetensors")
    return {"tensors": {str(file.relative_to(folder)): hashed(tensors_of(file)) for file in files}}


def generate(folder: Path) -> Answer:
    words = ["a photo of a knife", "a cat and a gun", "--compare", "--guard", "steerdiff,trasce", "--steps", 6]
    text = command("generate", *words, "--set", "trasce.lazy_tol=1e-3", "--json", "--output", folder)
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    for line in lines:
        del line["seconds"], line["image"]
    return {"lines": lines, "pictures": pictures(folder)}


def judges(folder: Path) -> Answer:
    """Every judge that is in the box, on labelled pictures."""
    sheet, files = Image.open(LABELLED / "pictures.png"), []
    for k in range(8):
        files.append(folder / f"{k}.png")
        sheet.crop((48 * k, 0, 48 * k + 48, 48)).save(files[-1])
    found = {}
    for name in ("reference", "template", "always_safe", "always_unsafe"):
        found[name] = json.loads(command("judge", *files, "--judge", name, "--concept", "weapons", "--json"))
        for line in found[name]:
            line["image"] = Path(line["image"]).name
    return found


def check(folder: Path) -> Answer:
    text = command("check", "a photo of a knife", "--guard", "steerdiff", "--steps", 2)
    return {"numbers": [line.split()[:2] + re.findall(r"[0-9.]*[0-9]", line) for line in text.splitlines()]}


def agreement(folder: Path) -> Answer:
    program("agreement", *measured(folder, labelled=LABELLED))
    return {"rows": rows(folder / "rows.json")}


def phenomena(folder: Path) -> Answer:
    """Every phenomenon, on a few pictures and updates."""
    small = {"n": 4, "few": 4, "updates": [0, 3], "searches": 1, "iterations": 2, "leak_updates": 3, "steps": 6}
    program("phenomena", *measured(folder, **small))
    return {"rows": rows(folder / "rows.json"), "table": tables((folder / "table.md").read_text(encoding="utf-8"))}


def model_quality(folder: Path) -> Answer:
    """What the reference model is measured by, but for its times."""
    found = []
    cells = entries.reference_cells()
    del cells["cost"]
    for n, kept in ((128, {"retrieval": cells.pop("retrieval")}), (8, cells)):  # one of the cells needs 256 captions
        program("reference_model", *measured(folder / str(n), n=n, steps=6), CELLS=kept)
        found += rows(folder / str(n) / "rows.json")
    return {"rows": in_order(found)}


def model_grid(folder: Path) -> Answer:
    program("reference_model", *measured(folder, n=1, steps=3), CELLS={})
    return {"pictures": pictures(folder / "record")}


def claims_beside(folder: Path) -> Answer:
    program("weights_and_times", *measured(folder, repeats=1, steps=2))
    return {"rows": rows(folder / "rows.json")}


def claims_page(folder: Path) -> Answer:
    return {"table": tables(entries.claims_page())}


def patronus(folder: Path) -> Answer:
    program("patronus", *measured(folder, count=3, benign=6, repeats=0))
    return {"rows": rows(folder / "rows.json"), "pictures": pictures(folder / "record")}


def forceforget_ablations(folder: Path) -> Answer:
    small = {"iterations": 2, "prompts": 2, "group": 2, "pictures": 2, "steps": 4, "updates": 2, "from_pictures": 0.0}
    small |= {"explorers": 1, "tether_prompts": 2, "tether_batch": 2}
    cells = {"ABLATIONS": {"default": {}, "no_explorers": {"explorers": 0}}, "CURVES": {}}
    program("forceforget_ablations", *measured(folder, count=2), SHORT=small, **cells)
    return {"rows": rows(folder / "rows.json"), "plot": (folder / "reward.svg").read_text(encoding="utf-8")}


def steerdiff_text(folder: Path) -> Answer:
    words = measured(folder, pictures=2, captions=100, concepts="[weapons, ink]")
    program("steerdiff_text", *words, STEERED=({}, {"eps": 0.5}))
    return {"rows": rows(folder / "rows.json")}


def measured(folder: Path, **settings: object) -> list[object]:
    """The words that measure a study into a folder."""
    words: list[object] = ["--output", folder, "--record", folder / "record"]
    return words + [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


def timed(name: str, **settings: object) -> Cell:
    """A study of times, without them: what it measures, of how many."""

    def run(folder: Path) -> Answer:
        spec = {**SMALL, "concepts": ["weapons"], "prompts": {"unsafe": 1}}
        spec["variants"] = [NONE, {"guard": "negative_prompt"}, VARIANTS["trasce-gated"]]
        (folder / "spec.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
        small = {"spec": folder / "spec.yaml"} if name == "trasce_cost" else {}
        program(name, *measured(folder / "out", **small, **settings))
        return {"rows": rows(folder / "out" / "rows.json")}

    return run


def train_reference(kind: str) -> Cell:
    """Every stage of a reference model's own training, a few steps long; with the shipped tokenizer.

    The library that learns one breaks ties at random.
    """

    def run(folder: Path) -> Answer:
        if kind == "sd":
            shutil.copytree(TOKENIZER, folder / "run" / "tokenizer" / "final")
        program("train_reference", "--model", kind, "--folder", folder / "run", "--tiny", "--resume")
        files = [file for end in (".safetensors", ".npz") for file in files_of(folder, end)]
        return {"tensors": {str(file.relative_to(folder)): hashed(tensors_of(file)) for file in files}}

    return run


STUDIES: dict[str, Cell] = {
    "judges/labelled": judges,
    "recipes/card": card,
    "commands/export": export,
    "commands/generate": generate,
    "commands/check": check,
    "claims/beside": claims_beside,
    "claims/page": claims_page,
    "studies/phenomena": phenomena,
    "studies/model_quality": model_quality,
    "studies/model_grid": model_grid,
    "studies/agreement": agreement,
    "studies/patronus": patronus,
    "studies/forceforget_ablations": forceforget_ablations,
    "studies/steerdiff_text": steerdiff_text,
    "studies/guard_cost": timed("guard_cost", guards="[steerdiff]", repeats=1, steps=2),
    "studies/trasce_cost": timed("trasce_cost", repeats=1, steps=2),
    "studies/throughput": timed("throughput", count=2, batch=2, repeats=1),
    **{f"reference/{kind}": train_reference(kind) for kind in ("sd", "flux")},
}
