"""How a command ends: its exit code, and the one line that says why.

Errors that were raised on purpose, what the operating system refuses, and Ctrl-C end in one line. Whoever stops
reading the output (``| head``) hears nothing. Anything else is a bug and keeps its traceback.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

from ..errors import ConfigError, StanchionError

FAILED, MISUSED, INTERRUPTED, UNREAD = 1, 2, 130, 141
CODES = (
    "Exit codes: 0 done; 1 a guard, the pipeline or the system failed, there is no picture, or a limit is broken; "
    "2 wrong usage, names or settings; 130 interrupted; 141 nobody read the output to its end."
)
RESUMED = ("attack", "bench", "study", "train")


@contextmanager
def ending(context: Any) -> Iterator[None]:
    """Turns what the command of this context (typer's) raises into its end."""
    try:
        yield
        sys.stdout.flush()  # what nobody reads any more shows here, and not while Python shuts down
    except StanchionError as error:
        _say(str(error))
        raise typer.Exit(MISUSED if isinstance(error, ConfigError) else FAILED) from error
    except BrokenPipeError as error:
        _read_by_nobody()
        raise typer.Exit(UNREAD) from error
    except OSError as error:
        _say(str(error))
        raise typer.Exit(FAILED) from error
    except KeyboardInterrupt as error:
        _say(
            "interrupted"
            + ("; the same command goes on where it stopped." if context.invoked_subcommand in RESUMED else ".")
        )
        raise typer.Exit(INTERRUPTED) from error


def _say(text: str) -> None:
    typer.echo(f"stanchion: {' '.join(text.split())}", err=True)


def _read_by_nobody() -> None:
    """Lets what is still in a buffer go nowhere: it would be written, and fail, once more at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(nowhere, stream.fileno())
