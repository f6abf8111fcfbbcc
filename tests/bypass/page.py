"""The table of docs/security.md, made of the routes: ``python tests/bypass/page.py`` writes it."""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bypass.routes import STAGES, Guarded, OutOfScope, Raised, Route, Routes

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
BEGIN, END = "<!-- routes: written by tests/bypass/page.py -->\n", "<!-- end of routes -->\n"
FILES = (
    "arguments",
    "text",
    "callbacks",
    "callbacks_on_modules",
    "modules",
    "code",
    "weights",
    "siblings",
    "threads",
    "families",
)


def kinds() -> Iterator[tuple[str, Routes]]:
    """(file, routes) of every kind, in the page's order."""
    for file in FILES:
        module = importlib.import_module(f"bypass.test_{file}")
        yield from ((file, routes) for routes in vars(module).values() if isinstance(routes, Routes))


def table() -> str:
    """The part of the page that is written here."""
    listed = list(kinds())
    every = [route for _, routes in listed for route in routes]
    ends = Counter(type(route.ends(guard)) for route in every for guard in route.guards)
    parts = [
        f"{len(every)} ways, by kind. With one guard after the other they were gone {ends.total()} times: "
        f"{ends[Guarded]} guarded, {ends[Raised]} raised, {ends[OutOfScope]} not held.\n"
    ]
    for _, routes in listed:
        rows = [_row(route) for route in routes]
        parts.append(
            "\n".join([f"### {routes.title}\n", "| way | what happens | route |", "|---|---|---|", *rows]) + "\n"
        )
    return "\n".join(parts)


def _row(route: Route) -> str:
    return f"| {route.way} | {_ends(route)} | `{route.name}` |"


def _ends(route: Route) -> str:
    """How it ends, and with which guards where that differs."""
    ends: dict[str, list[str]] = {}
    for guard in route.guards:
        ends.setdefault(str(route.ends(guard)), []).append(guard)
    if len(ends) == 1:
        (how,) = ends
        return how if set(route.guards) >= set(STAGES[:3]) else f"{how} ({', '.join(route.guards)})"
    return "; ".join(f"{how} ({', '.join(guards)})" for how, guards in ends.items())


def written(page: str) -> str:
    """The page with the table of now."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
