"""What ForceForget's parts are worth in short trainings, and how fast each setting learns.

    python benchmarks/forceforget_ablations.py

A cell is one short training and its measurement, one to three minutes. Cells that are done are kept in ``--folder``,
and a training that was cut off goes on; run the command again until it says that nothing is left. ``--cells 2`` stops
after two. Curves compare the default with the paper's setting on the same prompts and the same reward.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from stanchion import load_concept, load_pipeline
from stanchion.benchmark.model_card import measured
from stanchion.benchmark.results.row import Row, write_rows
from stanchion.benchmark.store.provenance import commit, machine
from stanchion.pipeline.loading import without_progress_bars
from stanchion.training.recipe import train_guard

COMMAND = "python benchmarks/forceforget_ablations.py"
SHORT = {"iterations": 16, "from_pictures": 0.0}  # from text alone, as it is measured; after 8 nothing is erased yet
ABLATIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "no_explorers": {"explorers": 0},
    "alignment_only": {"l1": 0.0},
    "safety_only": {"l2": 0.0},
    "beta_-1": {"beta": -1.0},
    "no_adapter": {"adapter": False},
    "position_begin": {"position": "begin"},
    "tokens_8": {"tokens": 8},
    "no_tether": {"tether": 0.0},
}
SAME = {"shares": [0.4, 0.6, 0.0], "scorer": "reader", "l2": 3.0}  # what makes rewards comparable
CURVES: dict[str, dict[str, Any]] = {"paper": {"iterations": 4, **SAME}}


def main() -> None:
    """Do what is left, then write rows and plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--concept", default="weapons")
    parser.add_argument("--count", type=int, default=48, help="pictures of each prompt set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cells", type=int, default=len(ABLATIONS) + len(CURVES), help="stop after so many")
    parser.add_argument("--folder", type=Path, default=Path("runs/forceforget_ablations"))
    parser.add_argument("--output", type=Path, default=Path("results/forceforget_ablations.json"))
    parser.add_argument("--plot", type=Path, default=Path("docs/images/forceforget_reward.svg"))
    chosen = parser.parse_args()
    without_progress_bars()
    cells = {**ABLATIONS, **CURVES}
    left = [name for name in cells if not (chosen.folder / name / "rows.json").is_file()]
    for name in left[: chosen.cells]:
        print(name)
        run_cell(chosen, name, cells[name])
    done = [name for name in cells if (chosen.folder / name / "rows.json").is_file()]
    rows = [Row(**values) for name in done for values in json.loads((chosen.folder / name / "rows.json").read_text())]
    write_rows(chosen.output, rows)
    chosen.plot.write_text(plot(rows), encoding="utf-8")
    print(
        f"{chosen.output}: {len(rows)} rows; left: {', '.join(name for name in cells if name not in done) or 'nothing'}"
    )


def run_cell(chosen: argparse.Namespace, name: str, changed: dict[str, Any]) -> None:
    """Train, measure, keep the rows."""
    folder, pipe = chosen.folder / name, load_pipeline("reference")
    settings = {**SHORT, **changed}
    preset = "paper" if name == "paper" else "default"
    guard = train_guard("forceforget", pipe, chosen.concept, folder, preset=preset, seed=chosen.seed, **settings)
    about = {"preset": preset, **settings, "images": guard.training["images"], "seconds": guard.training["seconds"]}
    rows = list(curve(chosen, name, folder, about))
    if name in ABLATIONS:
        for row in measured(folder, guard, pipe, "reference", count=chosen.count):
            if row.guard != "none":
                named = {"guard": "forceforget", "variant": name, "concept": chosen.concept, "command": COMMAND}
                rows.append(replace(row, **named, settings={**row.settings, **about}))
    write_rows(folder / "rows.json", rows)


def curve(chosen: argparse.Namespace, name: str, folder: Path, about: dict[str, Any]) -> Iterator[Row]:
    """The mean reward of every iteration; ``updates`` counts the pictures seen until then."""
    for line in (folder / "training" / "log.jsonl").read_text(encoding="utf-8").splitlines():
        log = json.loads(line)
        yield Row(
            guard="forceforget",
            variant=name,
            concept=chosen.concept,
            kind=load_concept(chosen.concept).kind,
            prompt_set="training",
            metric="reward",
            value=log["reward"],
            low=None,
            high=None,
            n=log["images"] // log["iteration"],
            n_unscored=0,
            seeds=str(chosen.seed),
            judge="reward model",
            model="reference",
            command=COMMAND,
            commit=commit(),
            machine=machine(),
            updates=log["images"],
            settings=about,
        )


def plot(rows: list[Row], width: int = 640, height: int = 320) -> str:
    """Reward against pictures seen, mean of three iterations, as SVG."""
    series = {name: [row for row in rows if row.metric == "reward" and row.variant == name] for name in COLOURS}
    points = {name: list(smooth(found)) for name, found in series.items() if found}
    most = max((images for found in points.values() for images, _ in found), default=1)
    values = [reward for found in points.values() for _, reward in found]
    low, high = math.floor(min(values, default=-1)), math.ceil(max(values, default=1))

    def at(images: float, reward: float) -> str:
        return f"{50 + images / most * (width - 180):.1f},{20 + (high - reward) / (high - low) * (height - 60):.1f}"

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">']
    parts.append(f'<rect width="{width}" height="{height}" fill="white"/>')
    for reward in range(low, high + 1):
        (left, y), right = at(0, reward).split(","), at(most, reward).split(",")[0]
        parts.append(f'<line x1="{left}" x2="{right}" y1="{y}" y2="{y}" stroke="#ddd"/>')
        parts.append(f'<text x="44" y="{float(y) + 4}" font-size="11" text-anchor="end">{reward}</text>')
    for place in range(5):
        x, y = at(most * place / 4, low).split(",")
        parts.append(
            f'<text x="{x}" y="{float(y) + 16}" font-size="11" text-anchor="middle">{most * place // 4}</text>'
        )
    parts.append(
        f'<text x="{width / 2 - 65}" y="{height - 6}" font-size="12" text-anchor="middle">pictures seen</text>'
    )
    parts.append('<text x="50" y="14" font-size="12">concept-erasing reward</text>')
    for place, (name, found) in enumerate(points.items()):
        line = " ".join(at(images, reward) for images, reward in found)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{COLOURS[name]}" stroke-width="2"/>')
        parts.append(
            f'<text x="{width - 120}" y="{40 + 18 * place}" font-size="12" fill="{COLOURS[name]}">{name}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


COLOURS = {"default": "#1a6fb5", "no_explorers": "#7f8c3a", "paper": "#c0392b"}


def smooth(rows: list[Row]) -> Iterator[tuple[int, float]]:
    """(pictures, mean reward of up to three iterations), in order."""
    rows = sorted(rows, key=lambda row: row.updates or 0)
    for place, row in enumerate(rows):
        values = [other.value or 0.0 for other in rows[max(0, place - 2) : place + 1]]
        yield row.updates or 0, sum(values) / len(values)


if __name__ == "__main__":
    main()
