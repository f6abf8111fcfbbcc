"""What the documentation says is so: its code runs, its commands are ours, its tables are those of the code."""

from pathlib import Path
from typing import Any

import pytest

import served
from pages import choose, keys
from pages.session import ROOT, Session, blocks, commands, parse
from stanchion import _HOMES, __all__

PAGES = sorted(str(path.relative_to(ROOT)) for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
RUN = (
    *("quickstart", "own_concept", "in_your_code", "red_team", "extend"),
    *("guards/picture_check", "attacks/index", "reference_model"),
)
SERVER = "docs/operate.md"


@pytest.mark.parametrize("page", RUN)
def test_a_page_is_a_program(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src").symlink_to(ROOT / "src")
    session = Session()
    session.run(f"docs/{page}.md")
    assert session.ran or len(session.scope) > 2


def test_the_client_of_the_server_runs() -> None:
    (block,) = [block for block in blocks(SERVER) if block.language == "python"]
    scope: dict[str, Any] = {}
    with served.service(served.policy()) as service, served.listening(service) as url:
        exec(block.text.replace("http://127.0.0.1:8000", url), scope)
    assert len(scope["answer"].data) == 2


def test_no_code_is_left_out() -> None:
    """README.md's runs in test_public_api.py, that of other tools in tests/integrations."""
    own = [page for page in PAGES if not page.startswith("docs/integrations/")]
    coded = {page for page in own if any(block.language == "python" for block in blocks(page))}
    assert coded == {f"docs/{page}.md" for page in RUN} | {SERVER, "README.md"}


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)])
def test_commands_are_read(page: str) -> None:
    for command in commands(page):
        parse(command)


def test_keys_are_those_of_the_schemas() -> None:
    assert keys.PAGE.read_text(encoding="utf-8") == keys.page(), "python tests/pages/keys.py writes it"


def test_the_choice_is_that_of_the_rows() -> None:
    assert choose.PAGE.read_text(encoding="utf-8") == choose.page(), "python tests/pages/choose.py writes it"
    assert choose.PICTURE.read_text(encoding="utf-8") == choose.picture(), "python tests/pages/choose.py writes it"
    assert choose.README.read_text(encoding="utf-8") == choose.in_readme(), "python tests/pages/choose.py writes it"


def test_every_public_name_is_on_the_page() -> None:
    text = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    own = [name for name in __all__ if _HOMES[name] != ".errors"]
    assert not [name for name in own if f"::: stanchion{_HOMES[name]}.{name}\n" not in text]
    assert not [name for name in __all__ if name not in text]
