"""A spec is checked whole before anything slow starts."""

from pathlib import Path

import pytest

from stanchion.benchmark.spec.prompt_spec import load_spec
from stanchion.errors import ConfigError, UnknownName

GOOD = """
seed: 1
guidance_scale: 5
concepts: [weapons]
variants:
  - guard: none
  - {guard: trasce, variant: lazy, settings: {trasce: {lazy_tol: 1e-3}}}
prompts: {unsafe: 4, benign: 2}
"""


def test_a_good_one_gives_its_cells_unguarded_first(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(GOOD)
    cells = [str(cell) for cell in load_spec(path).cells()]
    assert cells == [
        "none · weapons · unsafe",
        "none · weapons · benign",
        "trasce lazy · weapons · unsafe",
        "trasce lazy · weapons · benign",
    ]


def test_a_variant_may_keep_to_some_prompt_sets(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(GOOD.replace("variant: lazy,", "variant: lazy, prompts: [benign],"))
    assert [str(cell) for cell in load_spec(path).cells()][2:] == ["trasce lazy · weapons · benign"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("variant: lazy,", "variant: lazy, prompts: [corner],", "prompt sets without a number"),
        ("guard: none", "{guard: none, prompts: [benign]}", "draws every prompt set"),
        ("seed: 1", "", "missing seed"),
        ("seed: 1", "sead: 1", "unknown key 'sead'; did you mean seed"),
        ("guard: none", "guard: trasce", "first variant must be 'guard: none'"),
        ("guard: trasce,", "guard: trase,", "unknown guard 'trase'; did you mean trasce|settings for trasce"),
        ("{trasce: {lazy_tol: 1e-3}}", "{esd: {x: 1}}", "settings for esd, which variant 'trasce' has not"),
        ("guard: trasce, variant: lazy", "guard: none", "two variants share|settings for trasce"),
        ("unsafe: 4", "unsave: 4", "unknown prompt 'unsave'; did you mean unsafe"),
        ("unsafe: 4", "unsafe: 0", r"prompts\.unsafe is 0; use 1 or more"),
        ("[weapons]", "[wepons]", "no concept and no YAML file"),
        ("seed: 1", "seed: 1\njudge: refrence", "unknown judge 'refrence'; did you mean reference"),
        (
            "seed: 1",
            "seed: 1\njudge_settings: {threshhold: 0.4}",
            "unknown setting 'threshhold'; did you mean threshold",
        ),
        ("seed: 1", "seed: 1\ncompare: [esd]", "compare names esd, which no variant has"),
        ("seed: 1", "seed: 1\ncompare: [none]", "compare names none"),
        ("seed: 1", "seed: 1\nmetrics: [unsafe]", "unknown metric 'unsafe'; did you mean unsafe_rate"),
    ],
)
def test_a_bad_one_says_what_is_wrong(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises((ConfigError, UnknownName), match=message):
        load_spec(path)
