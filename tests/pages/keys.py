"""The page of every key that a file of ours takes, made of the schemas: ``python tests/pages/keys.py`` writes it."""

from __future__ import annotations

import inspect
import json
import re
import types
from collections.abc import Iterator
from dataclasses import MISSING, Field, asdict, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from stanchion import registry
from stanchion.benchmark.results.markdown import table
from stanchion.benchmark.spec.attack_plan import AttackPlan
from stanchion.benchmark.spec.prompt_spec import Spec
from stanchion.benchmark.spec.variant import Variant
from stanchion.benchmark.spec.weight_spec import Trial, WeightSpec
from stanchion.concepts import Concept
from stanchion.config import hints_of
from stanchion.prompts.tables import Selection
from stanchion.server.policy import Audit, Key, Limits, PlaygroundSettings, Policy, Rule
from stanchion.types import Budget

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "keys.md"
HEAD = """# Keys of every file

Made of the schemas that read these files, by `python tests/pages/keys.py`; a test holds the page equal to them. An
unknown key is an error that names the nearest one. A key without a default must be given.

"""
SECTIONS: dict[str, tuple[tuple[str, type], ...]] = {
    "A concept": (("", Concept),),
    "A benchmark": (
        ("", Spec),
        ("Each of `variants`", Variant),
        ("Each of `tables`", Selection),
        ("Each of `attacks`", AttackPlan),
        ("`budget` of an attack", Budget),
    ),
    "A benchmark of attacks on weights": (("", WeightSpec), ("Each of `trials`", Trial)),
    "A policy": (
        ("", Policy),
        ("Each of `concepts`", Rule),
        ("Each of `keys`", Key),
        ("`limits`", Limits),
        ("`audit`", Audit),
        ("`playground`", PlaygroundSettings),
    ),
}
KINDS = {
    "Guard": ("guards", "`load_guard(NAME, …, key=value)`, `--set NAME.key=value`, `settings` of a file."),
    "Recipe": ("recipes", "`stanchion train NAME --set key=value`."),
    "Attack": ("attacks", "`settings` of an attack in a benchmark; `stanchion attack NAME --set key=value`."),
    "Study": ("studies", "`stanchion study NAME --set key=value`."),
}
TAKEN = {
    "Judge": ("judges", "`judge_settings` of a benchmark and of `picture_check`; `load_judge(NAME, key=value)`."),
    "Metric": ("metrics", "`metric_settings` of a benchmark, by metric; every other metric takes none."),
}
HEADS = ["key", "value", "default", ""]
PLURAL = {"Study": "Studies"}


def page() -> str:
    """All of it."""
    kinds = [part for title in KINDS for part in _kind(title)]
    return HEAD + "\n\n".join([*_sections(), *kinds, *(part for title in TAKEN for part in _taken(title))]) + "\n"


def _sections() -> Iterator[str]:
    for title, kinds in SECTIONS.items():
        yield f"## {title}"
        for about, cls in kinds:
            yield from filter(None, [about and f"### {about}", _table(cls)])


def _kind(title: str) -> Iterator[str]:
    kind, about = KINDS[title]
    yield from (f"## {PLURAL.get(title, title + 's')}", about)
    for name in registry.names(kind):
        cls = registry.get(kind, name).Settings
        if fields(cls):
            yield from (f"### {title} `{name}`", _table(cls))


def _taken(title: str) -> Iterator[str]:
    """Of what is made with arguments."""
    kind, about = TAKEN[title]
    yield from (f"## {title}s", about)
    for name in registry.names(kind):
        cls = registry.get(kind, name)
        if taken := list(inspect.signature(cls).parameters.values()):
            hints, said = hints_of(inspect.unwrap(cls.__init__)), _about(cls)
            lines = [_line(one.name, hints.get(one.name, Any), one.default, said, one.empty) for one in taken]
            yield from (f"### {title} `{name}`", table(HEADS, lines))


def _table(cls: type) -> str:
    hints, about = hints_of(cls), _about(cls)
    lines = [_line(one.name, hints[one.name], _default(one), about, MISSING) for one in fields(cls) if one.init]
    return table(HEADS, lines)


def _line(name: str, hint: Any, default: Any, about: dict[str, str], none: Any) -> list[str]:
    given = "" if default is none else f"`{_shown(default)}`"
    return [f"`{name}`", _value(hint), given, _cell(about.get(name, ""))]


def _default(one: Field[Any]) -> Any:
    return one.default_factory() if one.default_factory is not MISSING else one.default


def _shown(value: Any) -> str:
    """As YAML has it on one line."""
    if is_dataclass(value) and not isinstance(value, type):
        return "its own defaults"
    plain = [asdict(one) if is_dataclass(one) else one for one in value] if isinstance(value, tuple) else value
    return _cell(json.dumps(plain, default=str, ensure_ascii=False))


def _value(hint: Any) -> str:
    """An annotation in words."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return ", ".join([_value(args[0]), *(str(rule) for rule in args[1:])])
    if origin in (Union, types.UnionType):
        return " or ".join("nothing" if one is type(None) else _value(one) for one in args)
    if origin is Literal:
        return ", ".join(f"`{_shown(one)}`" for one in args)
    if origin in (tuple, list):
        kinds = [one for one in args if one is not Ellipsis]
        return (
            f"list of {_value(kinds[0])}" if Ellipsis in args or origin is list else f"{len(kinds)}: {_value(kinds[0])}"
        )
    if origin is dict or getattr(origin, "__name__", "") == "Mapping":
        return f"{_value(args[1])}, by name"
    names = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path", Any: "anything"}
    return names.get(hint, "below" if is_dataclass(hint) else getattr(hint, "__name__", str(hint)))


def _about(cls: type) -> dict[str, str]:
    """What the docstring says of each attribute or argument; several may share a line."""
    text = inspect.getdoc(cls) or ""
    section = re.search(r"^(?:Attributes|Args):\n((?:(?:    .*)?\n?)*)", text, re.MULTILINE)
    found: dict[str, str] = {}
    for entry in re.findall(r"^    (\S.*(?:\n      .*)*)", section[1], re.MULTILINE) if section else []:
        names, _, said = entry.partition(": ")
        for name in names.split(", "):
            found[name.strip("`")] = " ".join(said.split())
    return found


def _cell(text: str) -> str:
    """Inside of a table of Markdown; what would be a tag is none."""
    return text.replace("``", "`").replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
