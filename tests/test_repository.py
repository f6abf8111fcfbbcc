"""What a newcomer relies on: the same commands everywhere, and a file for every link."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_ci_runs_what_people_run() -> None:
    lines = re.findall(r"^make (.+)$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    words = [word for line in lines for word in line.split() if not word.startswith("-")]
    assert words == ["lint", "docs", "compiled", "test"]


@pytest.mark.parametrize("page", [path.relative_to(ROOT) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]])
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / page).read_text(encoding="utf-8"))
    assert not [link for link in links if not (ROOT / page.parent / link).exists()]


def test_every_file_that_contributors_are_sent_to_is_there() -> None:
    named = re.findall(r"`(\w+/[\w/]*(?:\.py|/))`", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    homes = (ROOT, ROOT / "src" / "stanchion")
    assert len(named) > 30 and not [name for name in named if not any((home / name).exists() for home in homes)]


def test_constraints_never_force_a_processor() -> None:
    assert "+cpu" not in re.sub(r"#.*", "", (ROOT / "constraints.txt").read_text())
