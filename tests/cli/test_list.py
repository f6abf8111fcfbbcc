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
    assert list(tables["studies"]) == registry.names("studies")
    assert "reference" in tables["models"]
    assert all(text for table in tables.values() for text in table.values())


def test_one_kind_as_text() -> None:
    lines = CliRunner().invoke(app, ["list", "guards"]).output.splitlines()
    assert lines[0] == "guards"
    assert [line.split()[0] for line in lines[1:]] == registry.names("guards")


def test_an_unknown_kind_is_wrong_usage() -> None:
    assert CliRunner().invoke(app, ["list", "gards"]).exit_code == 2


def test_families_are_a_matrix_with_reasons() -> None:
    tables = json.loads(CliRunner().invoke(app, ["list", "families", "--json"]).output)
    assert list(tables) == registry.names("families")
    cells = [cell for family in tables.values() for kind in family.values() for cell in kind.values()]
    assert {cell["state"] for cell in cells} == {"works", "variant", "refused"}
    assert all(cell["why"] for cell in cells if cell["state"] != "works")
    assert all(list(kind) == registry.names("guards") for family in tables.values() for kind in family.values())
    lines = CliRunner().invoke(app, ["list", "families"]).output.splitlines()
    assert lines[0].startswith("| pipeline | esd |") and any(line.startswith("| FluxPipeline |") for line in lines)
