"""Reports: from a record alone, safe to open, and no kinder than the numbers."""

import base64
import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from recorded import SPEC, Blind, Careless, record, rewrite
from stanchion.benchmark.report.build import build
from stanchion.benchmark.report.render import as_html, as_json, as_markdown, write
from stanchion.benchmark.report.source import rows_of
from stanchion.benchmark.spec.variant import Variant
from stanchion.errors import ConfigError, UnknownName

INJECTED = "<script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("records") / "small", painter=Careless(6, 7))


def test_three_files_that_say_the_same(small: Path, tmp_path: Path) -> None:
    report = build(small)
    html, markdown, plain = write(report, tmp_path)
    assert (html.name, markdown.name, plain.name) == ("report.html", "report.md", "report.json")
    told = json.loads(plain.read_text())
    assert [concept["name"] for concept in told["concepts"]] == ["weapons", "banana"]
    rows = [row for concept in told["concepts"] for row in concept["rows"]]
    filed = json.loads((small / "small.rows.json").read_text())
    assert len(rows) == len(filed)
    assert all(row in filed for row in rows)
    for text in (html.read_text(), markdown.read_text()):
        assert report.chapters[0].headline in text
        assert "33.3" in text  # two of six came through
        assert "stanchion bench small.yaml" in text
        assert "reader 1" in text
        assert "guidance_scale: 5.0" in text
    assert as_html(build(small)) == html.read_text()


def test_the_page_needs_nothing_and_runs_nothing(small: Path) -> None:
    html = as_html(build(small))
    assert "http:" not in html
    assert "https:" not in html
    assert not re.search(r"<(script|link|iframe|object|embed|form)\b|@import|url\(|\son\w+=", html)
    sources = re.findall(r'src="([^"]*)"', html)
    assert sources
    assert all(source.startswith("data:image/webp;base64,") for source in sources)
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'" in html
    assert "style=" not in html  # the policy would drop it


def test_what_a_record_holds_is_never_markup(tmp_path: Path) -> None:
    folder = record(tmp_path, replace(SPEC, model=f"reference {INJECTED}"), painter=Careless(6))

    def inject(line: dict) -> dict:
        return {**line, "prompt": {**line["prompt"], "text": f"{INJECTED} {line['prompt']['text']} a|b"}}

    rewrite(folder, inject)
    report = build(folder)
    html, markdown = as_html(report), as_markdown(report)
    assert "<script" not in html
    assert "<img src=x" not in html
    assert "&lt;script&gt;alert(1)" in html
    prose = re.sub(r"```yaml.*?```", "", markdown, flags=re.DOTALL)
    assert "&lt;script>" in prose
    assert "<script" not in prose
    assert r"a\|b" in prose
    assert json.loads(as_json(report))["concepts"][0]["let_through"][0]["worst"][0]["text"].startswith("<script>")


def test_pictures_stand_beside_their_twins_and_can_be_left_out(small: Path, tmp_path: Path) -> None:
    html = as_html(build(small))
    assert "no picture" not in html
    assert "without a guard" in html
    assert "data:image" not in as_html(build(small, pictures=0))
    bare = tmp_path / "bare"
    shutil.copytree(small, bare, ignore=shutil.ignore_patterns("*.png"))
    html = as_html(build(bare))
    assert "data:image" not in html
    assert "no picture" in html


def test_failures_are_counted_and_shown(small: Path) -> None:
    weapons = build(small).chapters[0]
    (through,) = weapons.let_through
    assert (through.title, through.count, through.of) == ("negative_prompt painted", 4, 14)  # seeds 6 and 7, two sets
    assert [one.prompt_set for one in through.worst] == ["unsafe", "paired", "unsafe", "paired"]
    assert all(one.tile.tone == "unsafe" and one.twin for one in through.worst)
    (broken,) = weapons.broken
    assert (broken.count, broken.of) == (0, 8)  # companions and benign objects; the weapons are meant to go


def test_broken_pictures_are_those_that_lost_something_harmless(tmp_path: Path) -> None:
    folder = record(tmp_path)

    def blank(line: dict) -> dict:
        labels = {**line["labels"], "objects": [], "scores": dict.fromkeys(line["labels"]["scores"], 0.1)}
        return {**line, "labels": labels} if line["guard"] != "none" and line["prompt_set"] == "benign" else line

    rewrite(folder, blank)
    (broken,) = build(folder).chapters[0].broken
    assert (broken.count, broken.of) == (4, 8)
    assert all(one.prompt_set == "benign" and one.tile.said == "nothing" for one in broken.worst)


def test_unscored_pictures_are_said_wherever_they_count(tmp_path: Path) -> None:
    report = build(record(tmp_path, judge=Blind()))
    rows = {(row.guard, row.prompt_set): row for row in report.chapters[0].rows if row.metric == "unsafe_rate"}
    assert rows["none", "unsafe"].n_unscored > 0
    assert report.n_unscored >= sum(row.n_unscored for row in rows.values())
    html = as_html(report)
    assert f"{rows['none', 'unsafe'].n_unscored} unscored</small>" in html
    assert f">{report.n_unscored}</b> unscored" in html
    assert "unscored" in as_markdown(report)


def test_only_finished_specs_are_reported(tmp_path: Path) -> None:
    folder = record(tmp_path)
    (folder / "later.yaml").write_text("seed: 1")
    report = build(folder)
    assert report.notes == ("later was not run to its end and is left out.",)
    assert [run.name for run in report.runs] == ["small"]
    assert rows_of(folder) == list(report.runs[0].rows)
    with pytest.raises(ConfigError, match="run `stanchion bench"):
        build(folder, specs=["later"])
    with pytest.raises(UnknownName, match="did you mean small"):
        build(folder, specs=["smal"])


def test_specs_of_one_record_are_put_together_and_never_mixed(tmp_path: Path) -> None:
    record(tmp_path, painter=Careless(6))
    more = replace(SPEC, variants=(*SPEC.variants, Variant("sld")), prompts={"unsafe": 3, "benign": 4})
    record(tmp_path, more, name="with_sld", painter=Careless(6))
    report = build(tmp_path)
    assert report.guards == ["negative_prompt painted", "sld"]
    (note,) = report.notes
    assert "4 rows of with_sld are left out" in note  # unsafe rates of three prompts, where small has six
    alone = build(tmp_path, specs=["with_sld"])
    assert alone.notes == ()
    assert {row.n for row in alone.chapters[0].rows if row.prompt_set == "unsafe"} == {3}
    assert {one.seed for one in alone.chapters[0].let_through[0].worst} == {6}


def test_numbers_that_no_commit_can_make_again_say_so_first(tmp_path: Path) -> None:
    report = build(record(tmp_path, commit="abcdef0123+changes"))
    (note,) = report.notes
    assert note.startswith("All of these numbers were measured with changes that no commit has")
    assert note in as_html(report) and note in as_markdown(report)


def test_a_report_changes_nothing_in_the_record(small: Path) -> None:
    path = small / "attempts.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"torn')  # another process is writing
    build(small)
    assert path.read_bytes() == whole + b'{"torn'
    path.write_bytes(whole)
