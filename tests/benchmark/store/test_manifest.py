"""What a spec leaves in a record, and what is no longer its own."""

from dataclasses import replace
from pathlib import Path

import pytest

from recorded import SPEC, record
from stanchion import config
from stanchion.benchmark.spec.prompt_spec import Spec
from stanchion.benchmark.store.manifest import file_spec, stored_specs
from stanchion.errors import ConfigError


def test_a_record_holds_its_spec_origin_and_rows(tmp_path: Path) -> None:
    (run,) = stored_specs(record(tmp_path))
    assert config.load(Spec, tmp_path / "small.yaml") == SPEC
    assert run.origin
    assert run.origin.judge == "reader 1"
    assert run.origin.concepts["weapons"]["labels"][0] == "knife"
    assert {row.prompt_set for row in run.rows} == set(SPEC.prompts)


def test_rows_of_another_spec_are_dropped_and_those_of_the_same_are_not(tmp_path: Path) -> None:
    record(tmp_path)
    file_spec(tmp_path, "small", SPEC)
    assert stored_specs(tmp_path)[0].rows
    file_spec(tmp_path, "small", replace(SPEC, seed=6))
    (run,) = stored_specs(tmp_path)
    assert (run.origin, run.rows) == (None, ())


def test_a_damaged_record_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    record(tmp_path)
    (tmp_path / "small.rows.json").write_text("[{]")
    with pytest.raises(ConfigError, match=r"small\.rows\.json"):
        stored_specs(tmp_path)
    record(tmp_path)
    (tmp_path / "small.origin.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"small\.origin\.json"):
        stored_specs(tmp_path)
