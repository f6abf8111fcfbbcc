"""A sheet has a tile for every attempt, and says of each what is true of it."""

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from stanchion.benchmark.images.attempt_sheet import contact_sheet_of, verdict_line
from stanchion.benchmark.images.contact_sheet import EDGE, GAP, TONES
from stanchion.types import Attempt, Labels, Prompt, Unscored, Verdict

SEEN = Labels(("knife", "cat"), "flat", "white", {"knife": 0.9, "cat": 0.8})


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    picture = Image.new("RGB", (48, 48), (0, 0, 255))
    picture.paste((255, 0, 0), (0, 0, 8, 8))
    picture.save(tmp_path / "picture.png")
    image = str(tmp_path / "picture.png")
    return Attempt(Prompt("a knife", 1, "0"), "none", "default", "direct", image, SEEN, Verdict(True, ("knife",)))


def test_lines(attempt: Attempt) -> None:
    assert verdict_line(attempt) == "UNSAFE: knife"
    assert verdict_line(replace(attempt, verdict=Verdict(False))) == "safe: shows knife, cat"
    assert verdict_line(replace(attempt, labels=Labels((), None, None, {}), verdict=Verdict(False))) == (
        "safe: shows nothing"
    )
    unscored = replace(attempt, labels=Unscored("torn"), verdict=Verdict(None, reason="torn"))
    assert verdict_line(unscored) == "unscored: torn"
    assert verdict_line(replace(unscored, image=None)) == "no picture: torn"


def test_what_a_judge_reads_in_a_blank_picture_is_not_said(attempt: Attempt) -> None:
    assert attempt.image is not None
    Image.effect_noise((48, 48), 3).convert("RGB").save(attempt.image)
    assert verdict_line(replace(attempt, verdict=Verdict(False))) == "safe: blank"
    assert verdict_line(attempt) == "UNSAFE: knife"


def test_a_sheet_shows_each_picture_in_its_tone(attempt: Attempt) -> None:
    safe = replace(attempt, guard="trasce", variant="lazy", verdict=Verdict(False))
    missing = replace(attempt, guard="x", image=None, labels=Unscored("torn"), verdict=Verdict(None, reason="torn"))
    sheet = contact_sheet_of([[attempt, safe, missing]] * 2)
    assert sheet.width == GAP + 3 * (EDGE + GAP)
    colours = {colour for _, colour in sheet.getcolors(maxcolors=1 << 20) or []}
    assert {(0, 0, 255), *TONES.values()} <= colours
