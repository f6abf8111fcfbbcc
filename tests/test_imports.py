"""Who may import whom, as CONTRIBUTING says it; and what must load without torch."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import stanchion

ROOT = Path(stanchion.__path__[0])
FILES = sorted(ROOT.rglob("*.py"))

# What changes a model and measures it stands on nearly everything.
LAB = (
    "errors",
    "documents",
    "limits",
    "writers",
    "types",
    "concepts",
    "config",
    "registry",
    "pipeline",
    "guards",
    "attacks",
    "reference",
    "benchmark",
)

# room: what it may import of this package. The longest matching room counts; the rest of its own room is allowed.
ALLOWED = {
    "errors": (),
    "limits": ("errors",),
    "writers": ("errors",),
    "types": ("limits", "config"),
    "files": ("errors",),
    "documents": ("errors",),
    "names": ("errors",),
    "tensors": ("errors",),
    "registry": ("errors", "types", "names"),
    "config": ("errors", "types", "documents", "registry"),
    "concepts": ("errors", "types", "documents", "names", "config", "files.text"),
    "pipeline": ("errors", "types", "tensors", "concepts", "config", "registry", "reference"),
    "guards": ("errors", "types", "documents", "names", "tensors", "concepts", "config", "registry", "pipeline"),
    "attacks._surrogate": ("reference",),  # the attacker's own CLIP: the one of rewards, which measures nothing
    "attacks": ("errors", "types", "concepts", "config", "pipeline.losses", "pipeline.floor"),
    "training.fitting": ("tensors", "training.parallel"),
    "training.parallel": (),
    "training.rewards": ("errors", "types", "concepts", "config", "reference"),  # the reference model's own reward
    "training.feature_networks": ("errors", "tensors", "reference"),  # the reference model's own features
    "training": (
        "files",
        "tensors",
        "errors",
        "limits",
        "writers",
        "types",
        "concepts",
        "config",
        "registry",
        "pipeline",
        "guards",
    ),
    "reference": ("errors", "types", "tensors", "concepts", "config", "training.fitting"),
    "benchmark.prompts": ("errors", "types", "concepts", "reference", "benchmark.roles", "benchmark.tables", "files"),
    "benchmark.metrics.clip_score": ("types", "reference", "benchmark", "files"),
    "benchmark.metrics._features": ("types", "reference", "benchmark", "files"),
    "benchmark.metrics": ("errors", "types", "concepts", "benchmark.roles", "benchmark.intervals", "files"),
    "benchmark.judges": ("errors", "types", "concepts", "registry", "reference", "config", "files"),
    "benchmark.model_quality": ("types", "concepts", "reference", "benchmark"),  # measures the stock pipeline itself
    "benchmark.starts": ("types", "reference"),
    "benchmark.model_cost": ("types", "pipeline.loading", "reference"),
    "benchmark.agreement": ("files", "documents", "config", "types", "concepts", "reference", "benchmark"),
    "benchmark.phenomena": LAB,
    "benchmark.lessons": ("attacks.base", "reference", "benchmark"),
    "benchmark.weight_attacks": LAB,
    "benchmark.model_grid": ("types", "reference", "benchmark"),
    "benchmark": (
        "files",
        "documents",
        "names",
        "tensors",
        "errors",
        "limits",
        "writers",
        "types",
        "concepts",
        "config",
        "registry",
        "pipeline",
        "guards",
    ),
    "cli": ("",),
    "__main__": ("cli",),
    "": ("errors", "types", "concepts", "config", "registry", "pipeline", "guards", "benchmark"),
}
PLUGINS = ("guards/", "attacks/", "benchmark/judges/", "benchmark/metrics/", "benchmark/prompts/", "training/recipes/")


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> list[str]:
    """Dotted names inside the package that a file imports, wherever in the file."""
    package = list(path.relative_to(ROOT).parent.parts)
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
            found += [".".join([*base, alias.name]) for alias in node.names]
    return found


def within(name: str, room: str) -> bool:
    return room == "" or name == room or name.startswith(f"{room}.")


def is_plugin(path: Path) -> bool:
    where = path.relative_to(ROOT).as_posix()
    deep = where.count("/") >= (2 if where.startswith(("guards/", "benchmark/", "training/")) else 1)
    return where.startswith(PLUGINS) and deep and path.stem not in ("base", "__init__") and path.stem[0] != "_"


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_imports_only_what_its_room_may(path: Path) -> None:
    name = dotted(path)
    room = max((room for room in ALLOWED if within(name, room)), key=len)
    for target in imports(path):
        own = room != "" and within(target, room)
        assert own or any(within(target, other) for other in ALLOWED[room]), f"{name} imports {target}"
        assert room in ("cli", "__main__", "") or not within(target, "cli"), f"{name} imports the command line"


@pytest.mark.parametrize("path", [path for path in FILES if is_plugin(path)], ids=dotted)
def test_siblings_never_import_one_another(path: Path) -> None:
    """No guard a guard, no metric a metric; a recipe may import the guard that it trains."""
    room = next(folder for folder in PLUGINS if path.relative_to(ROOT).as_posix().startswith(folder))
    others = [other for other in FILES if is_plugin(other) and other.relative_to(ROOT).as_posix().startswith(room)]
    plugins = {dotted(other) for other in others} - {dotted(path)}
    for target in imports(path):
        assert not any(within(target, plugin) for plugin in plugins), f"{dotted(path)} imports {target}"


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_nobody_imports_the_package_by_name(path: Path) -> None:
    """``from stanchion import …`` inside of it is how cycles of two hundred modules are made."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        assert not any(within(name, "stanchion") for name in names), f"{dotted(path)}: use relative imports"


KNOW_DIFFUSERS = ("pipeline", "reference", "benchmark.model_quality", "benchmark.judges.safety_checker")


@pytest.mark.parametrize("path", [path for path in FILES if not dotted(path).startswith(KNOW_DIFFUSERS)], ids=dotted)
def test_only_pipeline_and_reference_know_diffusers(path: Path) -> None:
    assert not re.search(r"^\s*(from|import) diffusers", path.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize(
    "module",
    [
        "",
        ".errors",
        ".types",
        ".concepts",
        ".config",
        ".registry",
        ".cli.app",
        ".benchmark.rows",
        ".benchmark.runner",
        ".benchmark.report.render",
        ".benchmark.compare",
        ".benchmark.gate",
    ],
)
def test_loads_without_torch(module: str) -> None:
    code = f"import sys, stanchion{module}; print({{'torch', 'diffusers', 'transformers'}} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_no_file_is_too_long() -> None:
    long = {dotted(path): n for path in FILES if (n := len(path.read_text(encoding="utf-8").splitlines())) > 400}
    assert not long
