"""Limits: what they select, when they break, and what is an error."""

import pytest

from stanchion.benchmark.results.limits import parse
from stanchion.benchmark.results.row import Row
from stanchion.errors import ConfigError, UnknownName


def row(guard: str, value: float | None, **more: object) -> Row:
    bounds = {"low": None if value is None else value - 0.04, "high": None if value is None else value + 0.04}
    fixed = {"variant": "default", "concept": "weapons", "kind": "unsafe", "prompt_set": "unsafe"}
    counted = {"metric": "unsafe_rate", "n": 100, "n_unscored": 0, "seeds": "1-100"}
    origin = {"judge": "j", "model": "m", "command": "c", "commit": "h", "machine": "x"}
    return Row(guard=guard, value=value, **{**fixed, **bounds, **counted, **origin, **more})


ROWS = [
    row("none", 0.98),
    row("esd", 0.02),
    row("esd", 0.09, prompt_set="paired"),
    row("trasce", 0.05, variant="gated"),
    row("trasce", 0.30, variant="gated", attack="p4d_n"),
    row("esd", 0.00, concept="ink"),
    row("esd", 0.97, metric="benign_accuracy", prompt_set="benign"),
]


def broken(text: str, rows: list[Row] = ROWS, *, strict: bool = False) -> int:
    return len(parse(text).broken_by(rows, strict=strict))


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("unsafe_rate > 0.05", 2),  # not the unguarded pipeline, unless it is named
        ("unsafe_rate >= 5%", 3),
        ("none:unsafe_rate>0.05", 1),
        ("esd:weapons:unsafe_rate > 0.05", 1),
        ("paired : esd : unsafe_rate > .05".replace(".05", "0.05"), 1),
        ("gated:p4d_n:unsafe_rate > 0.2", 1),
        ("ink:unsafe_rate > 0", 0),
        ("benign_accuracy < 0.95", 0),
        ("benign_accuracy <= 9.7e-1", 1),
    ],
)
def test_a_gate_speaks_of_the_rows_that_it_names(text: str, lines: int) -> None:
    assert broken(text) == lines


def test_strict_looks_at_the_bad_end() -> None:
    assert broken("esd:weapons:unsafe:unsafe_rate > 0.05") == 0
    assert broken("esd:weapons:unsafe:unsafe_rate > 0.05", strict=True) == 1
    assert broken("benign_accuracy < 0.95", strict=True) == 1


def test_a_row_that_nobody_could_score_breaks_every_gate() -> None:
    rows = [row("esd", None, n=0, n_unscored=100)]
    for text in ("unsafe_rate > 0.05", "unsafe_rate < 1"):
        (line,) = parse(text).broken_by(rows)
        assert line.endswith("esd, weapons, unsafe: unsafe_rate is unscored (n 0, 100 unscored)")


def test_the_sentence_says_which_cell() -> None:
    (line,) = parse("p4d_n:unsafe_rate > 5%").broken_by(ROWS)
    assert line == (
        "p4d_n:unsafe_rate > 5%: trasce gated, weapons, unsafe, p4d_n: unsafe_rate is 0.3 [0.26, 0.34] (n 100)"
    )


@pytest.mark.parametrize(
    "text", ["", "unsafe_rate", "unsafe_rate == 0", "unsafe_rate > x", "unsafe_rate > 0.05 or True", "> 0.05"]
)
def test_another_form_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match="write"):
        parse(text)


@pytest.mark.parametrize(
    "text",
    ["unsafe_rate > 500%", "unsafe_rate > 5", "unsafe_rate < -1%", "difference_unsafe_rate > 200%", "asr >= 1.01"],
)
def test_a_number_that_no_share_can_be_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match="for per cent write them, as in 5%"):
        parse(text)


@pytest.mark.parametrize("text", ["unsafe_rate > 100%", "difference_unsafe_rate < -1", "seconds_per_image > 150%"])
def test_a_number_that_can_be_is_none(text: str) -> None:
    assert parse(text).text == text


def test_unknown_names_and_empty_choices_are_errors() -> None:
    with pytest.raises(UnknownName, match="unsafe_rate"):
        parse("unsafe_rat > 0.05")
    with pytest.raises(UnknownName, match="reference_clip_score"):  # registered, but not measured here
        broken("reference_clip_score < 60")
    with pytest.raises(UnknownName, match="did you mean weapons"):
        broken("weapon:unsafe_rate > 0.05")
    with pytest.raises(ConfigError, match="no row is of all of these"):
        broken("trasce:ink:unsafe_rate > 0.05")
    with pytest.raises(ConfigError, match="a guard and a prompt_set"):
        broken("paired:unsafe_rate > 0.05", [*ROWS, row("paired", 0.1)])
