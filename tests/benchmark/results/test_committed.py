"""results/STUDY/{rows.json, table.md}: every committed table is what its rows say."""

from pathlib import Path

import pytest
import yaml

from stanchion import config, registry
from stanchion.benchmark.results.row import read_rows
from stanchion.benchmark.results.tables import curve_table, markdown
from stanchion.benchmark.spec.paths import ROWS, SPEC, TABLE, name_of, rows_beside, table_beside
from stanchion.benchmark.studies.base import page as study_page
from stanchion.benchmark.studies.claims.claim import load_claims
from stanchion.benchmark.studies.claims.page import page as claims_page

RESULTS = Path(__file__).parents[3] / "results"
OTHERS = {"reference_flux": "reference_model"}  # a study of another model
STUDIES = sorted(path.parent for path in RESULTS.glob(f"*/{ROWS}"))


def written(folder: Path) -> str:
    """The table that the command writes from these rows."""
    rows = read_rows(folder / ROWS)
    study, spec = OTHERS.get(folder.name, folder.name), folder / SPEC
    if study in registry.names("studies"):
        kind = registry.get("studies", study)
        return kind(config.load(kind.Settings, spec) if spec.exists() else kind.Settings(), folder).files(rows)[TABLE]
    if folder.name == "claims":
        return claims_page(load_claims(), rows)
    if folder.name == "full_size":  # measured by tests/full_size
        return study_page(folder.name, rows[0].command, rows)
    kinds = yaml.safe_load((folder / SPEC).read_text("utf-8")) if (folder / SPEC).exists() else {}
    return (curve_table if "trials" in kinds else markdown).page(folder.name, rows)


@pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: folder.name)
def test_a_table_is_what_its_rows_say(folder: Path) -> None:
    assert (folder / TABLE).read_text("utf-8") == written(folder)


def test_the_page_of_claims_is_in_the_documents_too() -> None:
    assert (RESULTS.parent / "docs" / "claims.md").read_text("utf-8") == (RESULTS / "claims" / TABLE).read_text("utf-8")


def test_nothing_lies_flat() -> None:
    assert [path.name for path in RESULTS.iterdir() if path.is_file()] == []


def test_where_results_lie() -> None:
    study, alone = Path("results/trasce/spec.yaml"), Path("mine.yaml")
    assert (name_of(study), name_of(alone)) == ("trasce", "mine")
    assert (rows_beside(study), rows_beside(alone)) == (Path("results/trasce/rows.json"), Path("mine.json"))
    assert (table_beside(rows_beside(study)), table_beside(Path("mine.json"))) == (
        Path("results/trasce/table.md"),
        None,
    )
