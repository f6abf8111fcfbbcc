"""Pictures as they come in and go out. Slow for an event loop: for a thread."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

from PIL import Image

from ...errors import ConfigError
from ...files.pictures import as_shown
from .errors import Invalid

READ = ("PNG", "JPEG", "WEBP")


def opened(data: bytes, most: int, param: str) -> Image.Image:
    """A picture that nobody has decoded yet.

    Raises:
        Invalid: no PNG, JPEG or WebP, or a side of more than ``most`` pixels.
    """
    try:
        image = Image.open(BytesIO(data), formats=READ)
    except Exception as error:
        raise Invalid(f"{param} is no {', '.join(READ)} picture that can be read.", param) from error
    if max(image.size) > most:
        raise Invalid(f"{param} is {image.width}x{image.height}; a side has at most {most} pixels.", param)
    return image


def read(data: bytes, most: int, param: str) -> Image.Image:
    """An RGB picture as a viewer shows it. Raises as ``opened`` does, and for one of frames or transparency."""
    image = opened(data, most, param)
    try:
        return as_shown(image)
    except ConfigError as error:
        raise Invalid(f"{param}: {error}", param) from error
    except Exception as error:
        raise Invalid(f"{param} is damaged: {type(error).__name__}.", param) from error


def read_mask(data: bytes, most: int, size: tuple[int, int]) -> Image.Image:
    """White where the picture is to be drawn anew: where the mask is more transparent than not.

    Raises:
        Invalid: as ``opened``, without transparency, or of another size than the picture.
    """
    image = opened(data, most, "mask")
    if image.size != size:
        raise Invalid(f"mask is {image.width}x{image.height}, the image {size[0]}x{size[1]}.", "mask")
    try:
        alpha = image.convert("RGBA").getchannel("A")
    except Exception as error:
        raise Invalid(f"mask is damaged: {type(error).__name__}.", "mask") from error
    mask = alpha.point(lambda value: 255 * (value < 128))
    if not mask.getbbox():
        raise Invalid("mask has no transparent pixel, so nothing would be drawn anew.", "mask")
    return mask


def of_data_url(url: str, most: int) -> Image.Image:
    """The picture in a ``data:`` URL. No other one is followed: a server that fetches what it is told to is a tool.

    Raises:
        Invalid: another URL, or no picture in it.
    """
    head, comma, text = url.partition(",")
    if not (head.startswith("data:image/") and head.endswith(";base64") and comma):
        raise Invalid("image_url: give a data:image/…;base64 URL; no other one is fetched.", "input")
    try:
        data = base64.b64decode(text.encode("ascii", "replace"), validate=True)
    except ValueError as error:
        raise Invalid(f"image_url is no base64: {error}.", "input") from error
    return read(data, most, "image_url")


def written(image: Image.Image, form: str, compression: int | None) -> str:
    """Base64 of a picture's file."""
    return base64.b64encode(encoded(image, form, compression)).decode("ascii")


def encoded(image: Image.Image, form: str, compression: int | None) -> bytes:
    """A picture's file, without anything in it but pixels."""
    buffer = BytesIO()
    options: dict[str, Any] = {} if form == "png" or compression is None else {"quality": compression}
    image.save(buffer, form, **options)
    return buffer.getvalue()
