"""``stanchion list`` names what the registry finds."""

import json

from typer.testing import CliRunner

from stanchion import registry
from stanchion.cli.app import app
from stanchion.concepts import BUILT_IN


def test_json_holds_every_kind() -> None:
    result = CliRunner().invoke(app, ["list", "--json"])
    tables = json.loads(result.output)
    assert list(tables["guards"]) == registry.names("guards")
    assert list(tables["concepts"]) == list(BUILT_IN)
    assert "reference" in tables["models"]
    assert all(text for table in tables.values() for text in table.values())


def test_one_kind_as_text() -> None:
    lines = CliRunner().invoke(app, ["list", "guards"]).output.splitlines()
    assert lines[0] == "guards"
    assert [line.split()[0] for line in lines[1:]] == registry.names("guards")


def test_an_unknown_kind_is_wrong_usage() -> None:
    assert CliRunner().invoke(app, ["list", "gards"]).exit_code == 2
