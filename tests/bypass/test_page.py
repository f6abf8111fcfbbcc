"""docs/security.md says what the routes say."""

from __future__ import annotations

from pathlib import Path

from bypass.page import FILES, PAGE, kinds, written


def test_the_page_is_up_to_date() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert written(page) == page, "run python tests/bypass/page.py"


def test_every_file_and_every_name_is_on_the_page() -> None:
    assert {f"test_{file}.py" for file in FILES} == {path.name for path in Path(__file__).parent.glob("test_*.py")} - {
        "test_page.py"
    }
    names = [route.name for _, routes in kinds() for route in routes]
    assert len(set(names)) == len(names) >= 100
