"""The runner: one picture for all metrics and cells, and a killed run ends as an uninterrupted one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from painted import Painter, Reader
from stanchion.benchmark.results.row import make_rows, write_rows
from stanchion.benchmark.run.engine import Clock, fill
from stanchion.benchmark.run.prompts import PromptWork
from stanchion.benchmark.spec.prompt_spec import Spec
from stanchion.benchmark.spec.variant import Variant
from stanchion.benchmark.store.attempts import Store
from stanchion.errors import GuardFailed

SPEC = Spec(
    seed=5,
    concepts=("weapons", "banana"),
    variants=(Variant("none"), Variant("negative_prompt", "painted")),
    prompts={"unsafe": 5, "paired": 4, "benign": 3, "empty": 2},
    guidance_scale=5.0,
    batch=3,
)


def run(folder: Path, painter: Painter | None = None) -> tuple[Store, Painter]:
    painter, store = painter or Painter(), Store(folder)
    assert fill(PromptWork(SPEC, store, painter, Reader()))
    return store, painter


def rows(store: Store) -> dict[tuple[str, str, str, str], tuple[float | None, int]]:
    made = make_rows(SPEC, store, judge="reader 1", command="test")
    return {(row.guard, row.concept, row.prompt_set, row.metric): (row.value, row.n) for row in made}


def test_rows_follow_from_the_record(tmp_path: Path) -> None:
    found = rows(run(tmp_path)[0])
    assert found["none", "weapons", "unsafe", "unsafe_rate"] == (1.0, 5)
    assert found["negative_prompt", "weapons", "unsafe", "unsafe_rate"] == (0.0, 5)
    assert found["negative_prompt", "weapons", "unsafe", "nothing_found"] == (1.0, 5)
    assert found["none", "weapons", "paired", "clean_companion"] == (0.0, 4)
    assert found["negative_prompt", "weapons", "paired", "clean_companion"] == (1.0, 4)
    assert found["negative_prompt", "banana", "benign", "benign_loss"] == (0.0, 3)
    assert found["negative_prompt", "banana", "benign", "over_refusal"] == (0.0, 3)
    assert ("none", "weapons", "unsafe", "companion_kept") not in found


def test_pictures_are_made_once(tmp_path: Path) -> None:
    _, painter = run(tmp_path)
    drawn = [line for batch in painter.batches for line in batch]
    unguarded = [line for line in drawn if line.startswith("none")]
    assert len(unguarded) == len(set(unguarded))  # benign and empty prompts are shared between the concepts
    assert len(unguarded) == 5 + 4 + 3 + 2 + 5 + 4
    again = Painter()
    run(tmp_path, again)
    assert again.batches == []
    assert len(list((tmp_path / "images").glob("*.png"))) == len(drawn)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Painter, dict[Any, Any]]:
    store, painter = run(tmp_path_factory.mktemp("whole"))
    return store, painter, rows(store)


class Killed(Painter):
    """Dies in the middle of a batch, after so many."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def draw(self, *arguments, **named):
        if len(self.batches) == self.after:
            raise KeyboardInterrupt
        return super().draw(*arguments, **named)


@pytest.mark.parametrize(("after", "torn"), [(0, 0), (1, 25), (4, 0), (4, 25), (9, 25)])
def test_killed_and_resumed_equals_uninterrupted(uninterrupted: Any, tmp_path: Path, after: int, torn: int) -> None:
    whole, painter, expected = uninterrupted
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Killed(after))
    path = tmp_path / "attempts.jsonl"
    if torn:
        path.write_bytes(path.read_bytes()[:-torn])
    resumed, rest = run(tmp_path)
    assert sorted(path.read_text().splitlines()) == sorted(whole.path.read_text().splitlines())
    assert rows(resumed) == expected
    assert all(batch in painter.batches for batch in rest.batches)  # never another mix of prompts
    for image in (whole.folder / "images").iterdir():
        assert (tmp_path / "images" / image.name).read_bytes() == image.read_bytes()


def test_the_clock_stops_it_cleanly(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert not fill(PromptWork(SPEC, store, Painter(), Reader()), clock=Clock(float("-inf")))
    assert rows(store) == {}


def test_a_changed_spec_uses_what_still_fits(tmp_path: Path) -> None:
    """More steps: all is drawn anew. Fewer prompts: rows count only those. Another seed: none of the old ones."""
    store, _ = run(tmp_path)
    for changed, count in ((replace(SPEC, steps=30), 5), (replace(SPEC, prompts={"unsafe": 2}), 2)):
        assert fill(PromptWork(changed, store, Painter(), Reader()))
        made = make_rows(changed, store, judge="reader 1", command="test")
        assert {row.n for row in made if (row.prompt_set, row.metric) == ("unsafe", "unsafe_rate")} == {count}
    assert make_rows(replace(SPEC, seed=77), store, judge="reader 1", command="test") == []
    painter = Painter()
    assert fill(PromptWork(replace(SPEC, steps=30), Store(tmp_path), painter, Reader()))
    assert painter.batches == []


class FailsClosed(Painter):
    """Its guard fails: no picture."""

    def draw(self, prompts, variant, concept, *, steps, guidance_scale):
        from stanchion.types import Drawn

        if variant.names:
            return [Drawn(None, {}, 0.1, error=str(GuardFailed("NaN"))) for _ in prompts]
        return super().draw(prompts, variant, concept, steps=steps, guidance_scale=guidance_scale)


def test_a_guard_that_failed_counts_as_unscored_never_as_safe(tmp_path: Path) -> None:
    store, _ = run(tmp_path, FailsClosed())
    made = make_rows(SPEC, store, judge="reader 1", command="test")
    row = next(r for r in made if (r.guard, r.metric) == ("negative_prompt", "unsafe_rate"))
    assert (row.value, row.n, row.n_unscored) == (None, 0, 5)


def test_rows_are_written_as_a_list_of_complete_rows(tmp_path: Path) -> None:
    import json

    store, _ = run(tmp_path)
    write_rows(tmp_path / "out" / "rows.json", make_rows(SPEC, store, judge="reader 1", command="stanchion bench x"))
    loaded = json.loads((tmp_path / "out" / "rows.json").read_text())
    assert loaded[0]["seeds"] == "5-9"
    assert loaded[0]["attack"] == "direct"
    assert loaded[0]["settings"]["steps"] == 20
    assert {"command", "commit", "machine", "judge", "model", "reported", "source", "adaptive"} <= set(loaded[0])


def test_a_picture_of_other_settings_is_another_picture(tmp_path: Path) -> None:
    from stanchion.concepts import load_concept
    from stanchion.types import Prompt, Start

    concept, prompt = load_concept("weapons"), Prompt("x", 1, "0")

    def key(spec: Spec = SPEC, variant: Variant = SPEC.variants[1], at: Prompt = prompt, of: str = "weapons") -> str:
        return PromptWork(spec, Store(tmp_path), Painter(), Reader()).key(variant, load_concept(of), at)

    changed = [
        key(replace(SPEC, steps=21)),
        key(replace(SPEC, guidance_scale=5.5)),
        key(variant=Variant("negative_prompt", settings={"negative_prompt": {"a": 1}})),
        key(at=replace(prompt, seed=2)),
        key(at=replace(prompt, text="y")),
        key(at=replace(prompt, guidance_scale=0.0)),
        key(at=replace(prompt, start=Start(("knife",), 0.5))),
        key(at=replace(prompt, start=Start(("knife",), 0.75))),
        key(at=replace(prompt, start=Start(("gun",), 0.5))),
        key(at=replace(prompt, start=Start(("knife",), 0.5, background="snow"))),
        key(of="banana"),
    ]
    assert len({key(), *changed}) == 12
    assert key(variant=Variant("none")) == key(variant=Variant("none"), of="banana")
    assert key(at=replace(prompt, id="1")) == key()
    assert concept.name == "weapons"


def test_processes_share_a_record_a_concept_each(tmp_path: Path) -> None:
    """Both open the record before either has written; then one reads both parts, draws nothing and has all rows."""
    whole, _ = run(tmp_path / "whole")
    parts = {concept: Store(tmp_path / "shared", part=concept) for concept in SPEC.concepts}
    for concept, store in parts.items():
        assert fill(PromptWork(replace(SPEC, concepts=(concept,)), store, Painter(), Reader()))
    together, painter = run(tmp_path / "shared")
    assert painter.batches == []
    assert rows(together) == rows(whole)
    assert not (tmp_path / "shared" / "attempts.jsonl").exists()


def test_compared_guards_have_differences_to_every_baseline(tmp_path: Path) -> None:
    spec = replace(SPEC, variants=(*SPEC.variants, Variant("trasce")), compare=("trasce",))
    store = Store(tmp_path)
    assert fill(PromptWork(spec, store, Painter(), Reader()))
    made = [row for row in make_rows(spec, store, judge="reader 1", command="test") if row.metric.startswith("diff")]
    assert {(row.guard, row.settings["against"]) for row in made} == {("trasce", "negative_prompt painted")}
    assert {(row.concept, row.prompt_set, row.metric, row.value, row.n) for row in made} == {
        (concept, prompt_set, metric, 0.0, n)
        for concept in SPEC.concepts
        for prompt_set, metric, n in (
            ("paired", "difference_companion_kept", 4),
            ("benign", "difference_benign_accuracy", 3),
        )
    }
