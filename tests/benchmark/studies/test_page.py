"""docs/benchmark.md has a line for every prompt set, judge and metric, and its spec is one."""

import re
import shutil
from pathlib import Path

import pytest

from stanchion import registry
from stanchion.benchmark.spec.prompt_spec import load_spec

PAGE = (Path(__file__).parents[3] / "docs" / "benchmark.md").read_text(encoding="utf-8")
LINES = [line for line in PAGE.splitlines() if line.startswith("|")]


@pytest.mark.parametrize("kind", ["prompts", "judges", "metrics"])
def test_everything_registered_is_on_the_page(kind: str) -> None:
    assert not [name for name in registry.names(kind) if not any(f"`{name}`" in line for line in LINES)]


def test_ways_are_those_of_the_metrics() -> None:
    for line in LINES:
        _, names, way, *_ = (cell.strip() for cell in line.split("|"))
        if way in ("higher", "lower"):
            for name in names.replace("`", "").split(", "):
                assert registry.get("metrics", name).higher_is_better is (way == "higher"), name


def test_its_spec_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    shutil.copy(Path(__file__).parents[2] / "prompts" / "samples" / "i2p.csv", tmp_path / "data")
    block, *_ = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "spec.yaml").write_text(block)
    monkeypatch.chdir(tmp_path)
    spec = load_spec("spec.yaml")
    assert [len(spec.rows(cell)) for cell in spec.cells() if cell.prompt_set == "i2p"] == [1, 1]
