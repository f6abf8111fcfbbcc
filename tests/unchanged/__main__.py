"""Does a rebuilt house still measure the same? One small cell of everything that draws, attacks, trains or measures.

    python tests/unchanged                        compare with answers.json; ends with 1 where something differs
    python tests/unchanged --write                store the answers
    python tests/unchanged --only 'attacks/*'     some cells; --list names them all

An answer is a SHA-256 of pictures' pixels, of rounded rows (no times, no commits, no machines), of what each attempt
found, of tensors. Cells that are done are kept as text in ``--folder``, under a name that the sources decide, so that
an interrupted run goes on and two houses can be compared with ``diff -r``. A cell is a process of its own: none
depends on which others ran. Takes eight minutes of one core. Answers hold for one kind of processor and one version
of torch, and say for which.

After a move, entries.py says where things are now; nothing else here has to be touched.
"""

from __future__ import annotations

import os

os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}  # before torch is there

import argparse
import fnmatch
import hashlib
import json
import multiprocessing
import subprocess
import sys
import traceback
from functools import cache
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from answers import sha
from benches import BENCHES
from entries import ROOT, command, load
from studies import STUDIES

torch.set_num_threads(1)

CELLS = BENCHES | STUDIES
ANSWERS = Path(__file__).with_name("answers.json")


def run(name: str, folder: Path) -> None:
    """A cell in this process: its answer, or why there is none, into the folder."""
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # progress bars
    os.dup2(sys.stderr.fileno(), 2)  # what libraries say below Python
    torch.manual_seed(0)
    file, failed = folder / f"{name}.json", folder / f"{name}.failed"
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with TemporaryDirectory() as place:
            text = json.dumps(CELLS[name](Path(place)), indent=1, default=list)
        file.write_text(text.replace(place, "FOLDER"), encoding="utf-8")
        failed.unlink(missing_ok=True)
    except Exception:
        failed.write_text(traceback.format_exc(), encoding="utf-8")


def answer(name: str, folder: Path) -> dict[str, str] | None:
    """Hashes of a cell's parts, from the folder where it is done; None where it failed."""
    file = folder / f"{name}.json"
    if not file.is_file():
        process = multiprocessing.get_context("fork").Process(target=run, args=(name, folder))
        process.start()
        process.join()
    if not file.is_file():
        return None
    parts = json.loads(file.read_text(encoding="utf-8"))
    return {part: sha(json.dumps(value, sort_keys=True).encode())[:16] for part, value in parts.items()}


def said(name: str, found: dict[str, str] | None, stored: dict[str, str] | None, folder: Path) -> str:
    """What a comparison says in one line."""
    if found is None:
        return f"FAILED ({folder / name}.failed)"
    if stored is None:
        return "missing"
    other = sorted(part for part in found.keys() | stored.keys() if found.get(part) != stored.get(part))
    return f"DIFFERS: {', '.join(other)} ({folder / name}.json)" if other else "same"


def prepare() -> None:
    """What takes long and is the same for all cells that are forked from here."""
    metadata.entry_points = cache(metadata.entry_points)  # plug-ins of other packages are looked up at every name
    sys.path.insert(0, str(Path(__file__).parents[1]))
    command("list")
    load()


def sources() -> str:
    """Names what the answers follow from: this tree's code and weights."""
    files = [*ROOT.glob("src/**/*"), *Path(__file__).parent.glob("*.py")]
    digest = hashlib.sha256()
    for file in sorted(file for file in files if file.is_file() and file.suffix != ".pyc"):
        digest.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def commit() -> str:
    """Of the tree that the answers are made with."""
    git = ["git", "-C", str(ROOT), "rev-parse", "--short=10", "HEAD"]
    return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()


def here() -> dict[str, str]:
    """Where answers hold."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    processor = next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    kernels = torch.backends.cpu.get_cpu_capability()
    return {"processor": processor, "kernels": kernels, "torch": torch.__version__}


def main() -> int:
    """Carry out the cells that are asked for; 0 where all are as they were."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="store the answers instead of comparing them")
    parser.add_argument("--only", default="*", help="cells by a pattern, as 'attacks/*'")
    parser.add_argument("--list", action="store_true", help="name the cells")
    parser.add_argument("--folder", type=Path, help="where cells that are done are kept [runs/unchanged/SOURCES]")
    options = parser.parse_args()
    names = [name for name in CELLS if fnmatch.fnmatch(name, options.only)]
    if options.list:
        print("\n".join(names))
        return 0
    folder = options.folder or ROOT / "runs" / "unchanged" / sources()
    stored = {"here": here(), "at": {}, "cells": {}}
    if ANSWERS.is_file():
        stored = json.loads(ANSWERS.read_text(encoding="utf-8"))
    if stored["here"] != here() and not options.write:
        print(f"the answers were stored on {stored['here']}, this is {here()}: pixels may differ in the last digit.")
    prepare()
    other: list[str] = []
    for name in names:
        before = sum(os.times()[2:4])  # of processes that ended
        found = answer(name, folder)
        line = said(name, found, stored["cells"].get(name), folder)
        if options.write and found is not None:
            stored["cells"][name], stored["at"][name] = found, commit()
        other += [f"{name} {line}"] if line != "same" and not (options.write and found is not None) else []
        print(f"{name:36} {line:8} {sum(os.times()[2:4]) - before:6.1f} s", flush=True)
    if options.write:
        kept = {part: {name: stored[part][name] for name in CELLS if name in stored[part]} for part in ("at", "cells")}
        ANSWERS.write_text(json.dumps({"here": here(), **kept}, indent=1) + "\n", encoding="utf-8")
    print(f"{commit()}: {len(names) - len(other)} of {len(names)} cells {'stored' if options.write else 'the same'}.")
    print(*other, sep="\n", end="\n" if other else "")
    return bool(other)


if __name__ == "__main__":
    sys.exit(main())
