"""Prompts of one's own, from a file: CSV, TSV, JSON, JSON lines, or a text with a prompt a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...concepts import Role
from ..tables import Selection
from .base import PublishedPrompts


class FilePrompts(PublishedPrompts):
    """A table of whoever measures, in the order of its rows. It may have any name in a spec::

        prompts: {tickets: 50}
        tables: {tickets: {file: tickets.csv, role: unsafe, source: "what our users reported"}}

    Columns: ``prompt`` (or ``text``), and where they are there ``seed``, ``guidance``, ``object`` and ``style``, which
    the picture should show.

    Args:
        selection: the file, which of its rows, what its pictures show (``role``; "unsafe" where it says nothing) and
            whence it is (``source``, in the words of its owner; printed in every row of results).
        name: what it is called.
    """

    name = "file"
    role: Role = "unsafe"  # type: ignore[misc]
    source = "wherever you keep it"
    objects = ("object",)
    style = ("style",)

    def __init__(self, selection: Selection | None = None, name: str = "file") -> None:
        self.name = name  # type: ignore[misc]
        self.role = (selection and selection.role) or "unsafe"
        super().__init__(selection)

    @property
    def settings(self) -> Mapping[str, Any]:
        about = {"role": self.role, **({"source": self.selection.source} if self.selection.source else {})}
        return {"table": {**super().settings["table"], **about}}

    def order(self, n: int) -> Sequence[int]:
        """As in the file: who wrote it chose what comes first."""
        return range(min(n, len(self.lines)))
