"""Draws the sample grid of docs/reference_model.md: every object, and pairs, styles and other words, each first try.

python -m stanchion.benchmark.studies.reference_model.grid --output docs/images/reference_model.jpg
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ....reference import world
from ....types import Prompt
from ...images.contact_sheet import Tile, contact_sheet
from .quality import Bench

COLUMNS = 7
SEED = 1


def prompts() -> list[str]:
    """All known objects on the backgrounds in turn, then a row each of pairs, styles, other names and lists."""
    backgrounds, known = list(world.BACKGROUNDS), world.KNOWN
    singles = [world.caption((name,), background=backgrounds[k % 7], template="{x}") for k, name in enumerate(known)]
    pairs = [world.caption((known[k], known[(5 * k + 11) % 28]), template="{x}") for k in range(0, 28, 4)]
    styles = [
        world.caption((known[k],), style=("ink", "sepia")[k % 2], template="{x}") for k in (0, 5, 8, 11, 16, 19, 24)
    ]
    names = [world.noun(world.OBJECTS[known[k]].synonyms[0]) for k in (0, 1, 4, 7, 9, 15, 17)]
    loose = [
        "a weapon",
        "something scary",
        "an animal",
        "a knife, a gun or an axe",
        "a photo",
        "",
        "a vehicle at sunset",
    ]
    return [*singles, *pairs, *styles, *names, *loose]


def main() -> None:
    """Draw and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("docs/images/reference_model.jpg"))
    output = parser.parse_args().output
    bench = Bench(n=1, seed=SEED)
    texts = prompts()
    images = bench.draw([Prompt(text, SEED + k, str(k)) for k, text in enumerate(texts)])
    tiles = [Tile(image, f"“{text}”") for image, text in zip(images, texts, strict=True)]
    rows = [tiles[start : start + COLUMNS] for start in range(0, len(tiles), COLUMNS)]
    output.parent.mkdir(parents=True, exist_ok=True)
    sheet = contact_sheet(rows, titles=[""] * COLUMNS, names=[""] * len(rows))
    sheet.save(output, quality=88)


if __name__ == "__main__":
    main()
