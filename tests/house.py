"""How large the house is, at given commits: ``python tests/house.py 8c4a77b main`` prints a Markdown table.

Counted are the Python files of the package, and of ``benchmarks/`` where a commit still has it. A loose file lies in a
room beside its folders; those that the registry finds by their names do not count.
"""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import PurePosixPath
from statistics import median

PLUGINS = ("guards", "attacks", "judges", "metrics", "prompts", "recipes", "families", "studies", "cli")


def sources(commit: str) -> dict[PurePosixPath, str]:
    """The text of every file that counts."""
    packed = subprocess.run(["git", "archive", commit], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        found = {PurePosixPath(one.name): archive.extractfile(one) for one in archive if one.isfile()}
        return {
            path: file.read().decode()
            for path, file in found.items()
            if file and path.suffix == ".py" and path.parts[0] in ("src", "benchmarks")
        }


def functions(texts: dict[PurePosixPath, str]) -> dict[str, int]:
    """Lines of every function, with its signature and its docstring."""
    return {
        f"{path.stem}.{node.name}:{node.lineno}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path, text in texts.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def measured(commit: str) -> dict[str, str]:
    """A column of the table."""
    texts = sources(commit)
    lines = {str(path): len(text.splitlines()) for path, text in texts.items()}
    bodies = functions(texts)
    rooms = Counter(path.parent for path in texts if path.name[:2] != "__" and not set(path.parts) & set(PLUGINS))
    longest, most = max(lines, key=lambda name: lines[name]), max(bodies, key=lambda name: bodies[name])
    fullest = max(rooms, key=lambda room: rooms[room])
    return {
        "files": str(len(lines)),
        "lines in all": f"{sum(lines.values()):,}",
        "median file": f"{median(lines.values()):g}",
        "longest file": f"{lines[longest]} ({PurePosixPath(longest).name})",
        "files over 400 lines": str(sum(count > 400 for count in lines.values())),
        "functions": str(len(bodies)),
        "median function": f"{median(bodies.values()):g}",
        "longest function": f"{bodies[most]} ({most.partition(':')[0]})",
        "functions of 50 lines and more": str(sum(count >= 50 for count in bodies.values())),
        "rooms": str(len({path.parent for path in texts})),
        "most loose files in a room": f"{rooms[fullest]} ({fullest.name}/)",
        "rooms with more than eight loose files": str(sum(count > 8 for count in rooms.values())),
    }


def main() -> None:
    """Print the table."""
    commits = sys.argv[1:] or ["HEAD"]
    columns = {commit: measured(commit) for commit in commits}
    lines = [f"|  | {' | '.join(commits)} |", f"| --- |{' --- |' * len(commits)}"]
    lines += [f"| {name} | {' | '.join(col[name] for col in columns.values())} |" for name in columns[commits[0]]]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
