"""Contact sheets: pictures side by side with a line under each. Pillow only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap

from PIL import Image, ImageDraw, ImageFont

EDGE, GAP, LINE = 192, 12, 18
PAPER, INK = (255, 255, 255), (30, 30, 30)
TONES = {"safe": (24, 121, 78), "unsafe": (190, 30, 45), "plain": INK}


@dataclass(frozen=True)
class Tile:
    """A picture (None where none was made), the line under it, and its tone: safe, unsafe or plain."""

    image: Image.Image | None
    text: str = ""
    tone: str = "plain"


def contact_sheet(rows: Sequence[Sequence[Tile]], *, titles: Sequence[str], names: Sequence[str]) -> Image.Image:
    """Rows of tiles, a title over each column and the row's name (its prompt) above it.

    Small pictures are enlarged to 192 pixels for viewing; the files beside a sheet keep their own size.
    """
    top = LINE * (1 + max(title.count("\n") + 1 for title in titles))
    height = LINE * 2 + EDGE + LINE + GAP
    sheet = Image.new("RGB", (GAP + len(titles) * (EDGE + GAP), top + len(rows) * height), PAPER)
    pen = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        pen.multiline_text((_left(column), LINE // 2), title, INK, _font(15))
    for place, (tiles, name) in enumerate(zip(rows, names, strict=True)):
        y = top + place * height
        pen.text((GAP, y + LINE // 2), _fit(name, len(titles)), INK, _font(14))
        for column, tile in enumerate(tiles):
            _draw(sheet, pen, tile, _left(column), y + LINE * 2)
    return sheet


def _draw(sheet: Image.Image, pen: ImageDraw.ImageDraw, tile: Tile, x: int, y: int) -> None:
    tone = TONES[tile.tone]
    if tile.image is not None:
        sheet.paste(tile.image.convert("RGB").resize((EDGE, EDGE), Image.Resampling.BICUBIC), (x, y))
    pen.rectangle((x - 2, y - 2, x + EDGE + 1, y + EDGE + 1), outline=tone, width=2)
    pen.text((x, y + EDGE + 3), _fit(tile.text, 1), tone, _font(13))


def _left(column: int) -> int:
    return GAP + column * (EDGE + GAP)


def _fit(text: str, columns: int) -> str:
    """One line, cut where it would run over."""
    lines = wrap(text, columns * EDGE // 7) or [""]
    return lines[0] if len(lines) == 1 else f"{lines[0]} …"


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
