"""A row's origin: the commit, marked where files differ from it, and the machine."""

import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from stanchion.benchmark.store import provenance


def test_commit_says_when_files_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    module = tmp_path / "package" / "benchmark" / "provenance.py"
    module.parent.mkdir(parents=True)
    module.write_text("")
    monkeypatch.setattr(provenance, "__file__", str(module))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.commit() == "unknown"
    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    clean = provenance.commit()
    assert len(clean) == 10
    (tmp_path / "elsewhere.txt").write_text("does not matter")
    assert provenance.commit() == clean
    module.write_text("changed")
    assert provenance.commit() == f"{clean}+changes"


def test_machine_names_what_sways_a_number() -> None:
    assert f"torch {version('torch')}" in provenance.machine()
    assert "cores" in provenance.machine()
