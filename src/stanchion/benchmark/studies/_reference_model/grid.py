"""The sample grid of docs/reference_model.md: every object, and pairs, styles and other words, each first try."""

from __future__ import annotations

from PIL import Image

from ....reference import world
from ....types import Prompt
from ...images.contact_sheet import Tile, contact_sheet
from .bench import Bench

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


def grid(bench: Bench) -> Image.Image:
    """A picture of each, first try, with its prompt."""
    texts = prompts()
    images = bench.draw([Prompt(text, SEED + k, str(k)) for k, text in enumerate(texts)])
    tiles = [Tile(image, f"“{text}”") for image, text in zip(images, texts, strict=True)]
    rows = [tiles[start : start + COLUMNS] for start in range(0, len(tiles), COLUMNS)]
    return contact_sheet(rows, titles=[""] * COLUMNS, names=[""] * len(rows))
