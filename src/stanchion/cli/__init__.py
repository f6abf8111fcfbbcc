"""The command line, one command a file.

Exit codes: 0 done · 1 a guard or the pipeline refused or failed, no picture · 2 wrong usage, names or settings ·
130 interrupted.
"""

from __future__ import annotations

import os


def main() -> None:
    """Entry point of the command ``stanchion``."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # their advice on import is not about this program
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    from .app import app

    app()
