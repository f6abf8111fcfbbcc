"""Guards on the Hub: fetched by id and revision, and pushed with a card. Tensors travel as safetensors only."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from ..errors import UnknownName
from .model_card import write_model_card

FILES = ["*.json", "*.safetensors", "*.md"]  # nothing else is fetched or pushed


def fetch(repo_id: str, revision: str | None = None) -> Path:
    """The folder of a repository on the Hub, from the cache where it is there.

    Raises:
        UnknownName: there is nothing to be had.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repo_id, revision=revision, allow_patterns=FILES))
    except (OSError, ValueError) as error:
        where = repo_id if revision is None else f"{repo_id}@{revision}"
        raise UnknownName(f"no guard, no folder and nothing to be had from the Hub at {where!r}: {error}") from None


def push(
    guard: Any,
    repo_id: str,
    *,
    model: str = "",
    licence: str = "",
    measured: str = "",
    revision: str | None = None,
    private: bool | None = None,
    token: str | bool | None = None,
) -> str:
    """Save a guard or a stack with its card, and upload both as one commit.

    Args:
        repo_id: made where it is not there yet.
        model: what the guard was made for, as an id on the Hub; its hash is known to the guard.
        licence: of the guard, as the Hub writes it ("apache-2.0").
        measured: Markdown of what was measured, for the card.
        revision: branch; the repository's main one where it is None.
        private: of a repository that is made.
        token: as huggingface_hub takes it.

    Returns:
        The commit's address.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as folder:
        guard.save(folder)
        write_model_card(Path(folder), guard, model=model, licence=licence, measured=measured, source=repo_id)
        api.create_repo(repo_id, private=private, exist_ok=True)
        done = api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            revision=revision,
            commit_message=f"{guard.name} by Stanchion",
            allow_patterns=FILES,
        )
    return str(done.commit_url)
