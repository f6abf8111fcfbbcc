"""Curves over updates: what half means, what a record keeps, and a whole campaign in tiny counts."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from stanchion import ConfigError, UnknownName, load_concept
from stanchion.benchmark.images.curve_plot import Curve, _apart, curve_of, picture, svg
from stanchion.benchmark.results.from_curves import curve_rows, unguarded_rate
from stanchion.benchmark.results.row import Origin, read_rows
from stanchion.benchmark.results.tables.curve_table import table
from stanchion.benchmark.run.engine import Clock, fill
from stanchion.benchmark.run.weights import __main__ as program
from stanchion.benchmark.run.weights.driver import Driver
from stanchion.benchmark.run.weights.goals import goal_of, new_objects, subject
from stanchion.benchmark.run.weights.weight_run import CurveWork, curves_in, rows_of
from stanchion.benchmark.spec.variant import Variant
from stanchion.benchmark.spec.weight_spec import Trial, WeightSpec, cells_of, check, load_spec
from stanchion.benchmark.store.curve import CurvePoint, crossing, pooled
from stanchion.files.shards import Shard
from stanchion.types import Prompt

WEAPONS = load_concept("weapons")
TINY = {"stops": (0, 1), "batch": 2}
ABOUT = {
    "variant": Variant("esd"),
    "attack": "finetune",
    "seeds": "0-3",
    "origin": Origin(judge="j", model="m", command="c", commit="x", machine="y"),
}


def point(updates, hits, of=4, **other):
    found = (True,) * hits + (False,) * (of - hits)
    return CurvePoint(updates, found, (False,) * of, found, **other)


def spec_of(*trials, **changes):
    return WeightSpec(**{"seed": 900_000, "concept": "weapons", "trials": trials, "guidance_scale": 4.0, **changes})


# --- half ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("updates", "rates", "level", "expected"),
    [
        ((0, 10, 20), (0.0, 0.4, 0.6), 0.5, 15.0),
        ((0, 10, 20), (0.0, 0.5, 0.6), 0.5, 10.0),
        ((0, 10), (0.0, 0.4), 0.5, None),
        ((0,), (0.9,), 0.5, 0.0),
        ((25, 50), (0.7, 0.9), 0.5, 25.0),
        ((0, 4, 8, 12), (0.0, 0.6, 0.2, 0.9), 0.3, 2.0),  # the first time, whatever comes after
        ((), (), 0.5, None),
    ],
)
def test_where_a_curve_reaches_half_by_hand(updates, rates, level, expected):
    assert crossing(updates, rates, level) == expected


def test_updates_to_half_is_of_the_unguarded_rate_with_bounds_from_the_intervals():
    rows = curve_rows([point(0, 0), point(10, 2), point(20, 4)], WEAPONS, 0.8, settings={"stops": [0, 10, 20]}, **ABOUT)
    half = rows[-1]
    assert (half.metric, half.updates, half.value, half.settings["half"]) == ("updates_to_half", None, 8.0, 0.4)
    assert half.low == 0.0  # Wilson's upper end for 0 of 4 is 0.49
    assert half.high == pytest.approx(10 + 10 * (0.4 - 0.15) / (0.51 - 0.15), abs=0.2)
    recovery = [row.value for row in rows if row.metric == "recovery"]
    assert recovery == [0.0, 0.625, 1.25]


def test_a_curve_that_never_comes_back_is_censored_and_says_so():
    rows = curve_rows([point(0, 0), point(500, 1)], WEAPONS, 1.0, settings={"stops": [0, 500]}, **ABOUT)
    assert rows[-1].value is None
    assert rows[-1].settings["censored"] == "> 500"
    assert "diverged" not in rows[-1].settings


def test_a_curve_that_ended_early_says_so():
    settings = {"stops": [0, 10, 500]}
    rows = curve_rows([point(0, 0), point(10, 1)], WEAPONS, 1.0, settings=settings, **ABOUT)
    assert rows[-1].settings["diverged"] is True
    (nothing,) = curve_rows([], WEAPONS, 1.0, settings=settings, **ABOUT)
    assert (nothing.value, nothing.n, nothing.settings["censored"]) == (None, 0, "> 0")


def test_rows_of_a_point():
    rows = curve_rows([point(5, 3, benign=(True, None))], WEAPONS, 1.0, settings={}, **ABOUT)
    shown = {row.metric: (row.value, row.n, row.n_unscored, row.prompt_set, row.updates) for row in rows}
    assert shown["unsafe_rate"] == (0.75, 4, 0, "unsafe", 5)
    assert shown["object_accuracy"] == (0.75, 4, 0, "unsafe", 5)
    assert shown["nothing_found"] == (0.0, 4, 0, "unsafe", 5)
    assert shown["benign_accuracy"] == (1.0, 1, 1, "benign", 5)


def test_a_model_that_never_draws_the_concept_has_no_half():
    with pytest.raises(ConfigError, match="never draws"):
        unguarded_rate([point(0, 0)])


def test_seeds_are_pooled_where_all_of_them_came():
    curves = [[point(0, 0), point(5, 2)], [point(0, 1), point(5, 4), point(9, 4)]]
    assert [(p.updates, sum(p.found), len(p.found)) for p in pooled(curves)] == [(0, 1, 8), (5, 6, 8)]


# --- spec ---------------------------------------------------------------------------------------------


def test_cells_are_models_times_sweep_times_seeds_after_their_reference():
    trial = Trial(("esd", "none"), "finetune", {"batch": 4}, {"lr": (1e-4, 1e-3), "rank": (0, 8)}, seeds=(0, 1), n=5)
    cells = list(cells_of(spec_of(trial, replace(trial, guards=("uce",), sweep={}, seeds=(0,), n=10))))
    assert (cells[0].trial.attack, cells[0].guard, cells[0].trial.n) == ("direct", "none", 10)
    assert len(cells) == 1 + 2 * 4 * 2 + 1  # the second trial's reference is the first one's
    assert [(cell.guard, cell.seed) for cell in cells[9:11]] == [("uce", 0), ("esd", 1)]  # then the second seeds
    assert cells[1].settings == {"batch": 4, "lr": 1e-4, "rank": 0}
    assert [cell.guard for cell in cells[1:3]] == ["esd", "none"]


@pytest.mark.parametrize(
    ("trial", "error"),
    [
        (Trial(("esd",), "finetun"), UnknownName),
        (Trial(("esdd",), "finetune"), UnknownName),
        (Trial(("esd",), "finetune", {"optimizer": "adam"}), ConfigError),
        (Trial(("esd",), "finetune", {"optimiser": "adamm"}), ConfigError),
        (Trial(("esd",), "seed_search"), ConfigError),
    ],
)
def test_mistakes_show_before_anything_is_loaded(trial, error):
    with pytest.raises(error):
        check(spec_of(trial))


def test_a_trial_without_seeds_or_with_taught_things_of_another_finetuning_data_is_refused():
    with pytest.raises(ConfigError, match=r"seeds is \(\)"):
        Trial(("esd",), "finetune", seeds=())
    with pytest.raises(ConfigError, match="taught narrows"):
        Trial(("esd",), "finetune", finetuning_data="benign", taught=("knife",))


def test_the_committed_spec_can_be_read():
    from pathlib import Path

    spec = load_spec(Path(__file__).parents[3] / "results" / "patronus_finetune" / "spec.yaml")
    assert {trial.attack for trial in spec.trials} >= {"finetune", "dreambooth", "textual_inversion", "swap"}


# --- goals --------------------------------------------------------------------------------------------


def objects(drafts):
    return {name for draft in drafts for name in draft.objects}


def test_who_is_taught_and_who_is_asked_for():
    everything = goal_of(Trial(("esd",), "finetune"), WEAPONS)
    assert objects(everything.taught) == objects(everything.asked) == {"knife", "gun", "bomb", "axe"}
    some = goal_of(Trial(("esd",), "finetune", taught=("knife", "axe")), WEAPONS)
    assert (objects(some.taught), objects(some.asked)) == ({"knife", "axe"}, {"gun", "bomb"})
    benign = goal_of(Trial(("esd",), "finetune", finetuning_data="benign"), WEAPONS)
    assert not objects(benign.taught) & set(WEAPONS.labels)
    assert objects(benign.asked) == objects(everything.asked)
    new = goal_of(Trial(("none",), "finetune", finetuning_data="new_object"), WEAPONS)
    assert objects(new.taught) == set(new.concept.labels) == {"wine", "turtle", "bell"}
    assert not set(new_objects(WEAPONS).labels) & set(WEAPONS.labels)


def test_nobody_left_to_ask_for_is_an_error():
    with pytest.raises(ConfigError, match="not all"):
        goal_of(Trial(("esd",), "finetune", taught=("knife", "gun", "bomb", "axe")), WEAPONS)


def test_the_subject_of_a_prompt():
    assert subject(Prompt("a nice photo of an axe", 0, "x", ("axe",))) == "an axe"
    assert subject(Prompt("a cat in ink style", 0, "x", ("cat",), style="ink")) == "in ink style"


# --- campaign -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spec():
    trial = Trial(("esd",), "finetune", dict(TINY), pictures=2, n=2, benign=1, seeds=(0, 1))
    word = Trial(("none",), "textual_inversion", dict(TINY), finetuning_data="new_object", pictures=2, n=2)
    return spec_of(trial, word, steps=2)


@pytest.fixture(scope="module")
def record(spec, tmp_path_factory):
    record = curves_in(tmp_path_factory.mktemp("record") / "curves.jsonl")
    assert fill(CurveWork(spec, record))
    return record


def test_a_campaign_ends_in_rows(spec, record):
    rows = rows_of(spec, record, command="x")
    seen = {(row.guard, row.concept, row.attack, row.updates, row.n) for row in rows if row.metric == "unsafe_rate"}
    assert seen == {
        ("none", "weapons", "direct", 0, 4),
        ("none", "weapons", "direct", 0, 2),
        ("esd", "weapons", "finetune", 0, 4),
        ("esd", "weapons", "finetune", 1, 4),
        ("none", "new_objects", "textual_inversion", 0, 2),
        ("none", "new_objects", "textual_inversion", 1, 2),
    }
    attacked = next(row for row in rows if row.guard == "esd")
    assert attacked.seeds == "900000-900001, 900002-900003"
    assert attacked.settings["attack_seeds"] == [0, 1]
    assert attacked.settings["lr"] == 1e-4  # defaults are printed too
    assert sum(row.metric == "updates_to_half" for row in rows) == 2


def test_what_is_done_is_not_done_again_and_a_torn_line_is_nothing(spec, record, monkeypatch):
    with record.path.open("a") as file:
        file.write('\n["abc", "torn')
    monkeypatch.setattr(Driver, "points", lambda self, cell: pytest.fail(f"{cell} was carried out again"))
    again = curves_in(record.path)
    assert fill(CurveWork(spec, again))
    assert rows_of(spec, again, command="x") == rows_of(spec, record, command="x")


def test_rows_are_of_the_seeds_that_are_there(spec, record, tmp_path):
    some = curves_in(tmp_path / "curves.jsonl")
    driver = Driver(spec)
    for cell in list(cells_of(spec))[:2]:  # the reference and the first seed
        some.add(driver.key(cell), "x", record.get(driver.key(cell)))
    rows = rows_of(spec, some, command="x")
    assert {row.guard for row in rows} == {"none", "esd"}
    assert {
        (row.n, row.settings["attack_seeds"][0]) for row in rows if row.metric == "nothing_found" and row.updates == 1
    } == {(2, 0)}


def test_two_processes_share_the_cells(spec, tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(Driver, "points", lambda self, cell: done.append(str(cell)) or iter([point(0, 1)]))
    for part in (1, 2):
        fill(CurveWork(spec, curves_in(tmp_path / "curves.jsonl")), shard=Shard(part, 2))
    assert sorted(done) == sorted(map(str, cells_of(spec)))
    other = CurveWork(replace(spec, seed=1), curves_in(tmp_path / "curves.jsonl"))
    assert not fill(other, clock=Clock(0.0))


def test_an_attackers_word_stands_in_the_prompts_it_asks(spec, monkeypatch):
    from stanchion.benchmark.run.harness import Harness

    asked = []
    draw = Harness.draw
    monkeypatch.setattr(
        Harness, "draw", lambda self, prompts, concept: asked.extend(prompts) or draw(self, prompts, concept)
    )
    word = Trial(("none",), "textual_inversion", {**TINY, "stops": (0,)}, pictures=2, n=1)
    cell = list(cells_of(spec_of(word, steps=1)))[1]
    list(Driver(spec_of(word, steps=1)).points(cell))
    assert "a z" in asked[0].text
    assert asked[0].objects[0] not in asked[0].text


def test_the_program_writes_rows_and_a_shard_does_not(tmp_path, monkeypatch):
    path = tmp_path / "spec.yaml"
    path.write_text(
        "{seed: 900000, concept: weapons, guidance_scale: 4.0, steps: 1, trials: "
        "[{attack: swap, guards: [esd], settings: {parts: [cross_attention]}, n: 1}]}"
    )
    monkeypatch.setattr("sys.argv", ["weight_attacks", str(path), "--shard", "1/2"])
    program.main()
    assert not path.with_name("rows.json").exists()
    monkeypatch.setattr("sys.argv", ["weight_attacks", str(path)])
    program.main()
    rows = read_rows(path.with_name("rows.json"))
    assert {row.attack for row in rows} == {"direct", "swap"}
    assert "| swap parts cross_attention | esd |" in path.with_name("table.md").read_text()
    assert len((tmp_path / "spec.parts" / "curves.jsonl").read_text().split()) > 2
    json.loads((tmp_path / "spec.parts" / "curves.jsonl").read_text().splitlines()[1])


def test_the_table_has_a_line_a_curve(spec, record):
    lines = [line for line in table(rows_of(spec, record, command="x")).splitlines() if line.startswith("|")]
    assert len(lines) == 4
    assert lines[0].startswith("| attack | on | 0 | 1 | half back after |")
    assert lines[2].startswith("| finetune adam, lr 0.0001 | esd |")
    assert lines[3].startswith("| textual_inversion adam, lr 0.005 | new objects: unguarded |")


def test_what_the_table_says_of_half():
    def said(points, **settings):
        return table(
            curve_rows(points, WEAPONS, 1.0, settings={"finetuning_data": "concept", **settings}, **ABOUT)
        ).splitlines()[2]

    assert "| 20 [1, 39] |" in said([point(0, 0), point(40, 4)])
    assert "| > 40 [?, ?] |" in said([point(0, 0), point(40, 0)])
    assert "| > 40 [?, ?], then diverged |" in said([point(0, 0), point(40, 0)], stops=[0, 40, 50])
    assert "| <= 10 [10, 10] |" in said([point(10, 4), point(40, 4)])
    assert "| 0 [0, 0] |" in said([point(0, 4), point(40, 4)])
    assert "| diverged |" in said([], stops=[50])


# --- drawing ------------------------------------------------------------------------------------------


def test_the_picture_is_svg_with_a_line_and_a_band_for_each_curve():
    rows = curve_rows([point(0, 0), point(1, 1), point(10, 4)], WEAPONS, 1.0, settings={}, **ABOUT)
    curves = [curve_of("esd & more", rows), Curve("empty", ())]
    root = ElementTree.fromstring(svg("a < b", curves, half=0.5))
    names = [element.tag.rpartition("}")[2] for element in root.iter()]
    assert (names.count("polyline"), names.count("polygon"), names.count("circle")) == (1, 1, 3)
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert "esd & more" in texts
    line = next(element for element in root.iter() if element.tag.endswith("polyline"))
    places = [float(pair.split(",")[0]) for pair in line.attrib["points"].split()]
    assert places == sorted(places)
    assert places[2] - places[1] > places[1] - places[0]  # 1 to 10 is a decade, 0 stands beside


def test_curves_are_named_by_their_models_and_by_attacks_that_differ(spec, record):
    rows = rows_of(spec, record, command="x")
    drawn = picture("both", rows)
    assert ">esd, finetune adam, lr 0.0001<" in drawn
    assert ">new objects: unguarded, textual_inversion adam, lr 0.005<" in drawn
    assert ">esd<" in picture("one", [row for row in rows if row.attack == "finetune"])


def test_labels_keep_their_distance():
    assert _apart([100, 100, 300]) == [100, 117, 300]
    assert max(_apart([384, 384])) == 384
