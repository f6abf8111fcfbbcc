"""A row is filled in one place."""

import math

from stanchion.benchmark.results.row import Origin, Row, Subject
from stanchion.benchmark.spec.variant import Variant
from stanchion.concepts import load_concept
from stanchion.types import Estimate

ORIGIN = Origin("j", "m", "c", "x", "y")


def test_a_row_is_rounded_and_has_nothing_where_there_is_no_number() -> None:
    estimate = Estimate(1 / 3, math.nan, math.inf, 3, 1)
    row = Row.of("asr", estimate, load_concept("ink"), "unsafe", ORIGIN, seeds="1-4", digits=4, updates=7)
    assert (row.value, row.low, row.high, row.n, row.n_unscored) == (0.3333, None, None, 3, 1)
    assert (row.guard, row.variant, row.concept, row.kind, row.updates) == ("none", "default", "ink", "style", 7)
    assert (row.judge, row.model, row.command, row.commit, row.machine) == ("j", "m", "c", "x", "y")


def test_a_row_may_be_about_what_is_no_concept() -> None:
    about = {"seeds": "1", "variant": Variant("sld", "strong"), "settings": {"steps": 2}}
    row = Row.of("psnr", Estimate(30.0, 29.0, 31.0, 1), Subject("all", "object"), "renders", ORIGIN, **about)
    assert (row.title, row.concept, row.kind, row.settings) == ("sld strong", "all", "object", {"steps": 2})


def test_an_origin_says_the_commit_and_the_machine_of_now() -> None:
    now = Origin.now(command="stanchion bench x.yaml", judge="eye")
    assert (now.judge, now.model, now.command) == ("eye", "reference", "stanchion bench x.yaml")
    assert now.commit and "torch" in now.machine
