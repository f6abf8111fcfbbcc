"""A hook of mkdocs: what pages link to outside of docs/ comes along, so that a link leads somewhere on the site too.

Nothing that a page would fetch from elsewhere gets past it, either.

A page may link to ``../results/stack/rows.json`` as on a disk. The file lies under ``repository/`` of the site then; a
folder is a list of its files. A link to what is not there stays as it is, and mkdocs fails on it.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from typing import Any

from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
INSIDE, OUTSIDE = "docs/", "repository/"
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")

FETCHED = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)=\"(?:https?:)?//[^\"]*")
LOG = logging.getLogger("mkdocs.plugins.repository")


def on_files(files: Files, config: Any) -> Files:
    """Add what the pages link to, and what those link to that come along."""
    waiting = [file for file in files if file.is_documentation_page()]
    for page in waiting:
        for link in LINK.findall(page.content_string):
            path = _path(page.src_uri, link)
            if _comes_along(path) and not files.get_file_from_path(_place(path)):
                came = File.generated(config, _place(path), content=_content(ROOT / path))
                files.append(came)
                waiting += [came] if came.is_documentation_page() else []
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Have the links lead to what came along."""
    here = page.file.src_uri

    def moved(found: re.Match[str]) -> str:
        path = _path(here, found[1])
        known = _comes_along(path) or (here.startswith(OUTSIDE) and path.startswith(INSIDE))
        return f"]({relpath(_place(path), dirname(here) or '.')}" if known else found[0]

    return LINK.sub(moved, markdown)


@event_priority(-1000)
def on_post_build(config: Any) -> None:
    """Warn, which is an error in a strict build, of what a reader's browser would fetch from elsewhere.

    Asked of the pages as they lie there, last of all: a plugin may add a script to a page that was looked at.
    """
    for page in sorted(Path(config.site_dir).rglob("*.html")):
        for found in FETCHED.findall(page.read_text(encoding="utf-8")):
            LOG.warning("%s fetches from elsewhere: %s", page.relative_to(config.site_dir), found)


def _path(page: str, link: str) -> str:
    """The path in the repository of what a page links to."""
    own = page.removeprefix(OUTSIDE) if page.startswith(OUTSIDE) else INSIDE + page
    return normpath(join(dirname(own), link))


def _comes_along(path: str) -> bool:
    """Whether it lies in the repository and outside of docs/."""
    return not path.startswith((INSIDE, "..")) and (ROOT / path).exists()


def _place(path: str) -> str:
    """Where it lies on the site: program text opens as text, a folder is a page."""
    if path.startswith(INSIDE):
        return path.removeprefix(INSIDE)
    on_disk = ROOT / path
    return OUTSIDE + path + (".md" if on_disk.is_dir() else ".txt" if on_disk.suffix in (".py", ".yaml", "") else "")


def _content(path: Path) -> bytes | str:
    if path.is_dir():
        names = sorted(one.name + "/" * one.is_dir() for one in path.iterdir() if not one.name.startswith((".", "__")))
        return "\n".join([f"# {path.relative_to(ROOT)}", "", *(f"- `{name}`" for name in names), ""])
    return path.read_text(encoding="utf-8") if path.suffix == ".md" else path.read_bytes()
