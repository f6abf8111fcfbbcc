"""The prompts ``stanchion_prompts`` of eval-unlearn: files of one's own, in batches that know what each row is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ... import content_policy, registry
from ...concepts import Concept, load_concept
from ...config import checked
from ...errors import ConfigError
from ...prompts.tables import Selection
from ...types import Prompt

TARGET, RETAIN = "target", "retain"


@dataclass(frozen=True)
class Batch:
    """What the harness asks of a batch: texts, and lists that are as long under ``metadata``."""

    prompts: list[str]
    metadata: dict[str, Any] = field(default_factory=dict)


@checked
def load_prompts(
    target_prompts_path: str,
    concept: str,
    retain_prompts_path: str | None = None,
    limit: int | None = None,
    batch_size: int = 32,
) -> list[Batch]:
    """Batches of prompts that ask for the concept, then of those that do not.

    Every row says what it is (``metadata["categories"]``) and what its picture should show (``["objects"]``, from the
    column ``object``; "" where it does not say). Prompts that are never drawn are left out and counted (``skipped``).

    Args:
        target_prompts_path, retain_prompts_path: CSV, TSV, JSON, JSON lines, or a text with a prompt a line.
        limit: rows of each file, the first ones; None for all.

    Raises:
        ConfigError: a file that can't be read, or one without a prompt that may be drawn.
    """
    meant = load_concept(concept)
    files = {TARGET: target_prompts_path, **({RETAIN: retain_prompts_path} if retain_prompts_path else {})}
    read = {category: _rows(file, meant, limit) for category, file in files.items()}
    for category, screened in read.items():
        if not screened.prompts:
            raise ConfigError(f"{files[category]} holds no prompt that may be drawn.")
    rows = [(category, row) for category, part in read.items() for row in part.prompts]
    about = {"source": "stanchion_prompts", "skipped": sum(part.skipped for part in read.values())}
    return [_batch(rows[start : start + batch_size], about) for start in range(0, len(rows), batch_size)]


def _rows(file: str, concept: Concept, limit: int | None) -> content_policy.Screened:
    table = registry.get("prompts", "file")(Selection(file))
    return content_policy.screen(table.rows(concept, len(table.lines) if limit is None else limit, 0))


def _batch(rows: Sequence[tuple[str, Prompt]], about: Mapping[str, Any]) -> Batch:
    lists = {
        "categories": [category for category, _ in rows],
        "objects": [next(iter(row.objects), "") for _, row in rows],
    }
    return Batch([row.text for _, row in rows], {**about, **lists})
