"""What is judged is what a viewer shows; what viewers don't all show alike is not judged."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from typer.testing import CliRunner

from stanchion.cli.app import app
from stanchion.errors import ConfigError
from stanchion.files.pictures import ORIENTATION, read_picture
from stanchion.judges import load_judge
from stanchion.reference import world
from stanchion.types import Labels, Unscored

KNIFE = Image.fromarray(world.render(world.Scene(("knife",)), np.random.default_rng(3)))
CAT = Image.fromarray(world.render(world.Scene(("cat",)), np.random.default_rng(3)))


def test_a_plain_picture_is_itself(tmp_path: Path) -> None:
    KNIFE.save(tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png").tobytes() == KNIFE.tobytes()
    opaque = KNIFE.convert("RGBA")
    opaque.save(tmp_path / "b.png")
    assert read_picture(tmp_path / "b.png").tobytes() == KNIFE.tobytes()


def test_sixteen_bits_of_grey_are_grey_and_not_white(tmp_path: Path) -> None:
    grey = np.linspace(0, 65535, 48 * 48).reshape(48, 48).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / "a.png")
    shown = np.asarray(read_picture(tmp_path / "a.png"))
    assert shown.shape == (48, 48, 3)
    assert abs(shown[..., 0].astype(float) - grey / 257).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_camera_that_was_held_askew_is_turned(tmp_path: Path, orientation: int) -> None:
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # as PIL numbers its transpositions; each its own way back
    stored = KNIFE if orientation == 1 else KNIFE.transpose(Image.Transpose(turns[orientation]))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored.save(tmp_path / "a.png", exif=exif)
    assert read_picture(tmp_path / "a.png").tobytes() == KNIFE.tobytes()
    with Image.open(tmp_path / "a.png") as opened:
        (seen,) = load_judge("reference").detect([opened])
    assert isinstance(seen, Labels) and seen.objects == ("knife",)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_a_picture_of_several_frames_is_not_judged_by_its_first(tmp_path: Path, suffix: str) -> None:
    CAT.save(tmp_path / f"a.{suffix}", save_all=True, append_images=[KNIFE])
    with pytest.raises(ConfigError, match="2 frames or pages"):
        read_picture(tmp_path / f"a.{suffix}")
    with Image.open(tmp_path / f"a.{suffix}") as opened:
        assert isinstance(load_judge("always_safe").detect([opened])[0], Unscored)


def test_what_depends_on_the_ground_is_not_judged(tmp_path: Path) -> None:
    hidden = KNIFE.convert("RGBA")
    hidden.putalpha(0)
    hidden.save(tmp_path / "a.png")
    with pytest.raises(ConfigError, match="transparent"):
        read_picture(tmp_path / "a.png")
    Image.fromarray(np.zeros((9, 9), np.float32)).save(tmp_path / "a.tiff")
    with pytest.raises(ConfigError, match="no scale"):
        read_picture(tmp_path / "a.tiff")


def test_a_profile_says_what_the_numbers_look_like(tmp_path: Path) -> None:
    same = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    KNIFE.save(tmp_path / "a.png", icc_profile=same)
    assert abs(np.asarray(read_picture(tmp_path / "a.png")).astype(int) - np.asarray(KNIFE)).max() <= 2
    KNIFE.save(tmp_path / "a.png", icc_profile=b"no profile")
    with pytest.raises(ConfigError, match="can't be read as a picture"):
        read_picture(tmp_path / "a.png")


def test_no_picture_and_half_a_picture_say_so(tmp_path: Path) -> None:
    whole = BytesIO()
    KNIFE.save(whole, "PNG")
    (tmp_path / "half.png").write_bytes(whole.getvalue()[:500])
    (tmp_path / "none.png").write_text("no picture")
    for name in ("half.png", "none.png", "nowhere.png"):
        with pytest.raises(ConfigError, match=name):
            read_picture(tmp_path / name)


def test_the_command_line_says_why_it_can_not_tell(tmp_path: Path) -> None:
    CAT.save(tmp_path / "frames.gif", save_all=True, append_images=[KNIFE])
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    KNIFE.save(tmp_path / "knife.png")
    files = [str(tmp_path / name) for name in ("frames.gif", "dot.png", "knife.png")]
    shown = CliRunner().invoke(app, ["judge", *files, "--concept", "weapons", "--json"])
    frames, dot, knife = json.loads(shown.output)
    assert frames["verdict"]["unsafe"] is dot["verdict"]["unsafe"] is None
    assert "2 frames" in frames["reason"] and "1×1 pixels" in dot["reason"]
    assert knife["verdict"]["unsafe"] is True
