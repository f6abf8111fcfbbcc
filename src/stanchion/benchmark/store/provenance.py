"""Where a number comes from: the commit of the code and the machine that ran it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

CHANGES = "+changes"


def commit() -> str:
    """Short hash of the source's commit, ``+changes`` where files differ from it; "unknown" outside of git."""
    here = Path(__file__).parent
    try:
        head = _git(here, "rev-parse", "--short=10", "HEAD")
        changed = _git(here, "status", "--porcelain", "--untracked-files=no", "--", str(here.parents[1]))
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}{CHANGES}" if changed else head


def machine() -> str:
    """Processor, cores, accelerator, and the versions of the libraries that draw."""
    libraries = ", ".join(f"{name} {_version(name)}" for name in ("torch", "diffusers", "transformers"))
    return f"{_processor()}, {os.cpu_count()} cores, {_accelerator()}, Python {platform.python_version()}, {libraries}"


def _git(folder: Path, *arguments: str) -> str:
    run = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return run.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _accelerator() -> str:
    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name() if torch and torch.cuda.is_available() else "no GPU"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
