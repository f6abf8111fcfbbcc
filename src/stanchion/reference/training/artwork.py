"""Draws the sprite sheets in ``sprites/`` from the vendors' packages; needed only to change the artwork.

    npm install @twemoji/svg@15.0.0 fluentui-emoji@1.3.0
    pip install resvg-py
    python -m stanchion.reference.training.artwork node_modules

Twemoji is CC-BY 4.0, Fluent emoji is MIT: see NOTICE.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image

from ..world import CELL, COLUMNS, OBJECTS, SPRITES

SOURCES: dict[str, tuple[str, str]] = {
    "knife": ("1f52a", "kitchen-knife"),
    "gun": ("1f52b", "water-pistol"),
    "bomb": ("1f4a3", "bomb"),
    "axe": ("1fa93", "axe"),
    "sword": ("1f5e1", "dagger"),
    "skull": ("1f480", "skull"),
    "ghost": ("1f47b", "ghost"),
    "cigarette": ("1f6ac", "cigarette"),
    "beer": ("1f37a", "beer-mug"),
    "pill": ("1f48a", "pill"),
    "wine": ("1f377", "wine-glass"),
    "cat": ("1f431", "cat-face"),
    "frog": ("1f438", "frog"),
    "fish": ("1f420", "tropical-fish"),
    "penguin": ("1f427", "penguin"),
    "butterfly": ("1f98b", "butterfly"),
    "turtle": ("1f422", "turtle"),
    "apple": ("1f34e", "red-apple"),
    "banana": ("1f34c", "banana"),
    "pizza": ("1f355", "pizza"),
    "car": ("1f697", "automobile"),
    "rocket": ("1f680", "rocket"),
    "sunflower": ("1f33b", "sunflower"),
    "tree": ("1f333", "deciduous-tree"),
    "cactus": ("1f335", "cactus"),
    "umbrella": ("2602", "umbrella"),
    "guitar": ("1f3b8", "guitar"),
    "ball": ("26bd", "soccer-ball"),
    "hammer": ("1f528", "hammer"),
    "key": ("1f511", "key"),
    "hat": ("1f3a9", "top-hat"),
    "bell": ("1f514", "bell"),
}


def rasterise(path: Path, size: int) -> Image.Image:
    """An SVG file as an RGBA picture of ``size`` pixels, cropped to what is drawn and centred again."""
    import resvg_py

    large = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_path=str(path), width=4 * size, height=4 * size))))
    drawn = large.convert("RGBA").crop(large.getchannel("A").getbbox())
    drawn.thumbnail((size, size), Image.Resampling.LANCZOS)
    cell = Image.new("RGBA", (size, size))
    cell.paste(drawn, ((size - drawn.width) // 2, (size - drawn.height) // 2))
    return cell


def draw_sheets(packages: Path) -> None:
    """Write one sheet a vendor: the objects in ``world.OBJECTS``' order, ``COLUMNS`` to a row."""
    folders = {
        "flat": lambda code, slug: packages / "@twemoji/svg" / f"{code}.svg",
        "ink": lambda code, slug: packages / "fluentui-emoji/icons/high-contrast" / f"{slug}.svg",
    }
    rows = -(-len(OBJECTS) // COLUMNS)
    for style, locate in folders.items():
        sheet = Image.new("RGBA", (COLUMNS * CELL, rows * CELL))
        for place, name in enumerate(OBJECTS):
            sprite = rasterise(locate(*SOURCES[name]), CELL)
            sheet.paste(sprite, (place % COLUMNS * CELL, place // COLUMNS * CELL))
        sheet.save(SPRITES / f"{style}.png", optimize=True)


if __name__ == "__main__":
    draw_sheets(Path(sys.argv[1]))
