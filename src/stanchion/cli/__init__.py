"""The command line, one command a file. ``endings`` says how a command ends, and with which exit code."""

from __future__ import annotations

import os


def main() -> None:
    """Entry point of the command ``stanchion``, and of ``python -m stanchion``."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # their advice on import is not about this program
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    from .app import app

    app()
