"""The one place that opens pictures to be judged, compared or learnt from: as a viewer shows them, or not at all; and
that hides what must not be seen."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageFilter, ImageOps

from ..errors import ConfigError

ORIENTATION = 0x0112  # of EXIF
SINGLE = ("MPO",)  # a photo that carries others for the camera's own use
BLUR = 8  # the longer side by the radius: shapes of that size are gone
DEEP = ("I;16", "I;16L", "I;16B", "I;16N")


def read_picture(path: str | Path) -> Image.Image:
    """An RGB picture, as a viewer shows the file.

    Raises:
        ConfigError: no picture, a damaged one, or one that viewers don't all show alike: of several frames or pages,
            of transparent pixels, of numbers without a scale.
    """
    try:
        with Image.open(path) as image:
            return as_shown(image)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    except Exception as error:  # of any of Pillow's readers: they share no class
        raise ConfigError(f"{path} can't be read as a picture: {error or type(error).__name__}.") from error


def as_shown(image: Image.Image) -> Image.Image:
    """The same for a picture that was opened already.

    Raises:
        ConfigError: as above, but for damage, where Pillow's own errors are raised.
    """
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format not in SINGLE:
        raise ConfigError(f"it holds {frames} frames or pages; save the ones that are meant as pictures of their own.")
    if image.getexif().get(ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    return _of_screen(_flat(image))


def blurred(image: Image.Image) -> Image.Image:
    """One that shows no shapes."""
    return image.filter(ImageFilter.GaussianBlur(max(image.size) / BLUR))


def black(image: Image.Image) -> Image.Image:
    """One of the same size that shows nothing."""
    return Image.new(image.mode, image.size)


def _flat(image: Image.Image) -> Image.Image:
    """8 bits a channel, and nothing to see through."""
    if image.mode in DEEP:
        return Image.fromarray((np.asarray(image).astype(np.uint32) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ConfigError(f"its values (mode {image.mode}) have no scale; save it with 8 or 16 bits a channel.")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        if np.asarray(image)[..., 3].min() < 255:
            raise ConfigError("it is transparent: what it shows depends on the ground; save it on one.")
    return image


def _of_screen(image: Image.Image) -> Image.Image:
    """RGB, with the colours that its own profile gives to its numbers."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "CMYK"):
        return image.convert("RGB")
    source = ImageCms.ImageCmsProfile(BytesIO(profile))
    shown = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert shown is not None  # it is None only where a picture is changed in place
    return shown
