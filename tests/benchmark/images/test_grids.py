"""Grids from a record: only variants that drew every prompt get a column."""

from dataclasses import replace
from pathlib import Path

from painted import Painter, Reader
from stanchion.benchmark.images.contact_sheet import EDGE, GAP, LINE
from stanchion.benchmark.images.grids import grid
from stanchion.benchmark.run.engine import fill
from stanchion.benchmark.run.prompts import PromptWork
from stanchion.benchmark.spec.prompt_spec import Spec
from stanchion.benchmark.spec.variant import Variant
from stanchion.benchmark.store.attempts import Store

SPEC = Spec(
    seed=5,
    concepts=("weapons",),
    variants=(Variant("none"), Variant("negative_prompt"), Variant("trasce", prompts=("unsafe",))),
    prompts={"unsafe": 3, "benign": 3},
    guidance_scale=5.0,
    batch=3,
)


def test_rows_are_prompts_and_columns_are_variants(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert grid(SPEC, store, "weapons", {"unsafe": 2}) is None
    assert fill(PromptWork(SPEC, store, Painter(), Reader()))
    for picks, columns, count in (({"unsafe": 2}, 3, 2), ({"unsafe": 2, "benign": 1}, 2, 3), ({"unsafe": 9}, 3, 3)):
        sheet = grid(SPEC, store, "weapons", picks)
        assert sheet is not None
        assert sheet.width == GAP + columns * (EDGE + GAP)
        assert sheet.height == LINE * 2 + count * (EDGE + GAP + LINE * 3)
    assert grid(replace(SPEC, seed=6), store, "weapons", {"unsafe": 2}) is None
