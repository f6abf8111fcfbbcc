"""Attacks in a benchmark: found once, resumed to the same record, counted against the prompts alone."""

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

import tiny
from closeness import same_bits
from stanchion.attacks.white_box.soft_prompt import SoftPrompt
from stanchion.benchmark.results.from_attacks import make_attack_rows
from stanchion.benchmark.run.attacks import AttackWork
from stanchion.benchmark.run.engine import Clock, fill
from stanchion.benchmark.run.image_generator import ImageGenerator
from stanchion.benchmark.run.prompts import PromptWork
from stanchion.benchmark.spec.attack_plan import AttackPlan
from stanchion.benchmark.spec.prompt_spec import Spec
from stanchion.benchmark.spec.variant import Variant
from stanchion.benchmark.store import candidates
from stanchion.benchmark.store.attempts import Store, StoredAttempt
from stanchion.concepts import load_concept
from stanchion.errors import ConfigError
from stanchion.files.shards import Shard
from stanchion.judges.base import Judge
from stanchion.types import Adversarial, Labels, LatentStart

UNSEEN = dict.fromkeys(load_concept("banana").labels, 0.0)
SPEC = Spec(
    seed=5,
    concepts=("banana",),
    variants=(Variant("none"), Variant("negative_prompt"), Variant("trasce")),
    prompts={"unsafe": 6},
    guidance_scale=4.0,
    steps=2,
    batch=4,
    attacks=(
        AttackPlan("seed_search", "adaptive", {"unsafe": 6}, settings={"seeds": 2}),
        AttackPlan("random_prefix", "static", {"unsafe": 5}, settings={"tries": 2}, guards=("none", "trasce")),
    ),
)


class Coin(Judge):
    """Finds a banana in every third picture, by its bytes; breaks on every seventh where it is told to."""

    name = "coin"
    version = "1"
    breaks = False

    def look(self, images: list[Image.Image]) -> list[Labels]:
        return [self._one(int.from_bytes(hashlib.sha256(image.tobytes()).digest()[:4], "big")) for image in images]

    def _one(self, drawn: int) -> Labels:
        if self.breaks and drawn % 7 == 0:
            raise RuntimeError("the judge is broken")
        found = ("banana",) if drawn % 3 == 0 else ()
        return Labels(found, "flat", "white", {**UNSEEN, "banana": float(bool(found))})


def team(folder: Path, spec: Spec = SPEC, judge: Judge | None = None, part: str = "") -> AttackWork:
    generator = ImageGenerator(tiny.pipeline())
    prompts = PromptWork(spec, Store(folder, part), generator, judge or Coin())
    return AttackWork(prompts, generator, base=tiny.pipeline)


def record(folder: Path) -> dict[tuple[object, ...], tuple[object, ...]]:
    """What the attempts say, without the time they took."""
    entries = Store(folder).entries()
    return {
        (*entry.cell, entry.attempt.prompt.id): (
            entry.picture,
            entry.attempt.verdict,
            entry.attempt.adversarial,
            entry.attempt.queries,
            entry.attempt.unattacked,
            hashlib.sha256(Path(entry.attempt.image).read_bytes()).hexdigest(),
        )
        for entry in entries
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert fill(team(folder))
    return folder


def test_rows_count_as_unlearn_diff_atk_does(whole: Path) -> None:
    rows = make_attack_rows(SPEC, Store(whole), judge="coin 1", command="test")
    assert {(row.attack, row.guard, row.metric) for row in rows if row.metric == "asr"} == {
        ("seed_search", "none", "asr"),
        ("seed_search", "negative_prompt", "asr"),
        ("seed_search", "trasce", "asr"),
        ("random_prefix", "none", "asr"),
        ("random_prefix", "trasce", "asr"),
    }
    store = Store(whole)
    for row in rows:
        adaptive = False if row.attack == "random_prefix" else None
        attempts = [
            e.attempt for e in store.cell(row.guard, "default", "banana", "unsafe", row.attack, adaptive).values()
        ]
        assert row.adaptive is adaptive and row.n <= len(attempts) == (6 if row.attack == "seed_search" else 5)
        plain = store.cell(row.guard, "default", "banana", "unsafe")
        already = [bool(plain[one.prompt.id].attempt.verdict.unsafe) for one in attempts]
        assert already == [one.unattacked for one in attempts]
        broken = [bool(one.verdict.unsafe) for one in attempts]
        by_hand = {"asr": sum(broken) / len(broken), "pre_asr": sum(already) / len(already)}
        if row.metric in by_hand:
            assert row.value == pytest.approx(by_hand[row.metric], abs=1e-6)


def kill_behind(count: int, crew: AttackWork) -> None:
    """It dies before it can add an attack's attempt after so many: they were drawn in a whole batch, as ever."""
    append, added = crew.store.append, []

    def dying(entries: Iterable[StoredAttempt]) -> None:
        entries = list(entries)
        added.extend(entry for entry in entries if entry.attempt.attack != "direct")
        if len(added) > count:
            raise KeyboardInterrupt
        append(entries)

    crew.store.append = dying  # type: ignore[method-assign]


def test_a_run_that_was_cut_off_ends_as_a_whole_one(whole: Path, tmp_path: Path) -> None:
    """Cut off after every second batch, and each time in the middle of a line."""
    cells = list(SPEC.attack_cells())
    for cell in cells:
        for chunk in list(team(tmp_path).chunks(cell))[::2]:
            crew = team(tmp_path)
            kill_behind(2, crew)
            with suppress(KeyboardInterrupt):
                crew.carry_out(cell, chunk)
            with (tmp_path / "attempts.jsonl").open("a") as file:
                file.write('{"concept": "bana')
    assert fill(team(tmp_path))
    assert record(tmp_path) == record(whole)


def test_two_processes_share_the_work(whole: Path, tmp_path: Path) -> None:
    for shard, part in ((Shard(1, 2), "1of2"), (Shard(2, 2), "2of2")):
        assert fill(team(tmp_path, part=part), shard=shard)
    assert record(tmp_path) == record(whole)


def test_the_clock_is_looked_at_before_every_prompt_that_is_attacked_alone(tmp_path: Path) -> None:
    crew, cells = team(tmp_path), list(SPEC.attack_cells())
    sizes = {cell.plan.mode: [len(chunk) for chunk in crew.chunks(cell)] for cell in cells}
    assert sizes == {"adaptive": [1] * 6, "static": [4, 1]}
    assert not fill(crew, clock=Clock(0.0)) and not list(Store(tmp_path).entries())


def test_what_is_done_is_not_done_again(whole: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.is_file()}
    assert fill(team(whole))
    assert before == {path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.is_file()}


def test_candidates_are_found_once_and_replayed_on_every_guard(whole: Path) -> None:
    store, found = Store(whole), {}
    for file in (whole / "found").glob("*.json"):
        found.update(json.loads(file.read_text())["found"])
    assert len(list((whole / "found").glob("*.json"))) == 2 and len(found) == 5
    for guard in ("none", "trasce"):
        for entry in store.cell(guard, "default", "banana", "unsafe", "random_prefix", False).values():
            attempt = entry.attempt
            tried = [one["text"] for one in found[attempt.prompt.id]]
            assert attempt.unattacked or attempt.adversarial["text"] in tried


def test_a_universal_attack_learns_once_a_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learned = []
    learn = SoftPrompt.learn
    monkeypatch.setattr(SoftPrompt, "learn", lambda *args, **about: learned.append(1) or learn(*args, **about))
    plan = AttackPlan("soft_prompt", "adaptive", {"unsafe": 6}, preset="tiny", guards=("none",), restarts=2)
    spec = replace(SPEC, attacks=(plan,), variants=SPEC.variants[:1])
    assert fill(team(tmp_path, spec))
    assert len(learned) == 2 and len(record(tmp_path)) == 6 + 2 * 6


def test_a_judge_that_fails_leaves_rows_unscored(tmp_path: Path) -> None:
    judge = Coin()
    judge.breaks = True
    spec = replace(SPEC, attacks=SPEC.attacks[:1], variants=SPEC.variants[:1])
    assert fill(team(tmp_path, spec, judge))
    asr = make_attack_rows(spec, Store(tmp_path), judge="coin 1", command="test")[0]
    assert asr.n + asr.n_unscored == 6


def test_candidates_keep_tensors(tmp_path: Path) -> None:
    start = LatentStart(torch.randn(4, 8, 8), 1.3, 1.02, 2)
    one = Adversarial(embeds=torch.randn(3, 5), seed=7, start=start, note={"loss": 0.5})
    candidates.save(tmp_path, "key", {"a/0": (one, Adversarial(text="a cat")), "a/1": ()})
    found = candidates.load(tmp_path, "key")
    assert found is not None and found["a/1"] == () and found["a/0"][1] == Adversarial(text="a cat")
    again = found["a/0"][0]
    assert same_bits(again.embeds, one.embeds) and same_bits(again.start.latents, start.latents)
    assert replace(again, embeds=None, start=None) == replace(one, embeds=None, start=None)
    assert (again.start.eta, again.start.noise_scale, again.start.start_step) == (1.3, 1.02, 2)
    assert candidates.load(tmp_path, "other") is None


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (AttackPlan("seed_search", "static", {"unsafe": 9}), "list as many under 'prompts'"),
        (AttackPlan("seed_search", "static", {"unsafe": 2}, guards=("esd",)), "which no variant has"),
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(plan: AttackPlan, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(SPEC, attacks=(plan,))
    with pytest.raises(ConfigError, match="leave it out"):
        AttackPlan("direct", "static", {"unsafe": 1})


@pytest.mark.parametrize("mode", ["adaptive", "static"])
def test_a_guard_that_can_not_stand_on_the_model_leaves_rows_that_say_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """The other cells are run, and the run comes to its end."""
    from stanchion.errors import UnsupportedPipeline
    from stanchion.guards.stack import GuardStack

    stock = GuardStack.attach

    def attach(self, pipeline):
        if self.name == "trasce":
            raise UnsupportedPipeline("no seam knows it.")
        return stock(self, pipeline)

    monkeypatch.setattr(GuardStack, "attach", attach)
    plan = AttackPlan("seed_search", mode, {"unsafe": 2}, settings={"seeds": 1})
    spec = replace(SPEC, prompts={"unsafe": 2}, attacks=(plan,))
    made = team(tmp_path, spec)
    assert fill(made)
    for guard, why in (("trasce", {"UnsupportedPipeline: no seam knows it."}), ("negative_prompt", {""})):
        adaptive = False if mode == "static" else None
        entries = made.store.cell(guard, "default", "banana", "unsafe", "seed_search", adaptive, None)
        assert len(entries) == 2
        assert {entry.attempt.verdict.reason for entry in entries.values()} == why
    lines = len(made.store.path.read_text().splitlines())
    assert fill(made)
    assert len(made.store.path.read_text().splitlines()) == lines
