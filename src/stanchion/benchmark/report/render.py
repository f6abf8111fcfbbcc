"""A report as files: report.html, which needs nothing else, report.md and report.json."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from ..results.row import Row
from ..results.tables.heatmap import LEVELS
from ..results.units import unit_of
from .build import BenchmarkReport, Chapter
from .charts.plots import Plot
from .failures import Failures

NAME = "report"


def write(report: BenchmarkReport, folder: str | Path) -> list[Path]:
    """Write all three; their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"html": as_html(report), "md": as_markdown(report), "json": as_json(report)}
    for ending, text in texts.items():
        (folder / f"{NAME}.{ending}").write_text(text, encoding="utf-8")
    return [folder / f"{NAME}.{ending}" for ending in texts]


def as_html(report: BenchmarkReport) -> str:
    """One page without scripts and without requests; its policy forbids both, whatever a prompt may hold."""
    templates = _templates(autoescape=True)
    style = Markup(templates.get_template("report.css.j2").render(levels=LEVELS))  # ours alone: nothing of a record
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    page = templates.get_template("report.html.j2")
    return page.render(report=report, style=style, style_hash=f"sha256-{digest}")


def as_svg(drawing: Plot) -> str:
    """A plot as a file of its own, with the report's colours by day and by night."""
    return _templates(autoescape=True).get_template("plot.svg.j2").render(drawing=drawing)


def as_markdown(report: BenchmarkReport) -> str:
    """Headlines, tables and origins; the pictures are in the HTML."""
    return _templates(autoescape=False).get_template("report.md.j2").render(report=report)


def as_json(report: BenchmarkReport) -> str:
    """Verdicts, rows and worst failures, for programs. Pictures are named, not held."""
    chapters = [_plain_chapter(chapter) for chapter in report.chapters]
    runs = [{"name": run.name, "spec": run.spec, "origin": run.origin and asdict(run.origin)} for run in report.runs]
    values = {
        "name": report.name,
        "tolerance": report.tolerance,
        "n_pictures": report.n_pictures,
        "n_unscored": report.n_unscored,
        "notes": report.notes,
        "concepts": chapters,
        "runs": runs,
    }
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"


def _plain_chapter(chapter: Chapter) -> dict[str, Any]:
    verdicts = {
        verdict.title: {
            finding.question: {
                "verdict": finding.word,
                "worst": finding.row and asdict(finding.row),
                "among": finding.among,
            }
            for finding in verdict.findings
        }
        for verdict in chapter.verdicts
    }
    return {
        "name": chapter.name,
        "kind": chapter.kind,
        "headline": chapter.headline,
        "verdicts": verdicts,
        "let_through": [_plain_failures(failures) for failures in chapter.let_through],
        "broken": [_plain_failures(failures) for failures in chapter.broken],
        "rows": [asdict(row) for row in chapter.rows],
    }


def _plain_failures(failures: Failures) -> dict[str, Any]:
    kept = ("text", "seed", "prompt_set", "attack", "sent")
    worst = [
        {**{name: getattr(one, name) for name in kept}, "image": Path(one.image).name, "shows": one.tile.said}
        for one in failures.worst
    ]
    return {
        "guard": failures.title,
        "count": failures.count,
        "of": failures.of,
        "where": failures.where,
        "worst": worst,
    }


def _templates(*, autoescape: bool) -> Environment:
    folder = Path(__file__).parent / "templates"
    templates = Environment(
        loader=FileSystemLoader(folder),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters |= {"said": said, "plain": plain, "breakable": breakable, "cell": _markdown_cell}
    return templates


def said(row: Row) -> str:
    """Value, unit and interval of a row."""
    if row.value is None:
        return "unscored"
    unit = unit_of(row.metric)
    interval = unit.interval(row.low, row.high).replace(" ", "\u00a0")
    return f"{unit.number(row.value)}\u00a0{unit.sign}".rstrip() + f" {interval}"


def breakable(name: str) -> Markup:
    """A long name that may go on in a new line behind a plus or an underscore, and nowhere else."""
    text = str(escape(name))
    return Markup(text.replace("+", "+<wbr>").replace("_", "_<wbr>"))


def plain(name: str) -> str:
    """A metric's or prompt set's name as words."""
    return name.replace("_", " ")


def _markdown_cell(text: object) -> str:
    """Text that can't end a table's cell or begin a tag."""
    escaped = str(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
    return re.sub(r"[\r\n]+", " ", escaped)
