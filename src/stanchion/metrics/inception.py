"""Pictures as features of the published Inception network, for the distances that papers report. Extra `fid`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..config import checked
from ..errors import ConfigError
from ..files.pictures import read_picture
from ..types import Attempt, Unscored
from .base import Metric
from .features import KEPT
from .intervals import jackknife

WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"  # the last eight digits begin its SHA-256
RELEASE = "github.com/toshas/torch-fidelity, release v0.2.0"
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
GROUPS = 10  # parts of the generated pictures that the jackknife leaves out, one at a time

Network = Callable[[Any], Any]


class InceptionDistance(Metric):
    """A distance between the generated pictures and real ones in a folder of yours, in Inception's 2,048 features.

    The network is the one of 2015 that FID was defined on, as torch-fidelity (Apache-2.0) has it, with its resizing.
    Its weights are never fetched. They could not be had where this was written: what is tested is everything but them.
    The interval is a jackknife over ten parts of the generated pictures; the real ones are taken as they are.

    Args:
        real: folder of the pictures to compare with, such as the photographs whose captions are the prompts.
        weights: file of the weights; empty for where torch-fidelity would have put it, in torch's own cache.
        network: of a (1, 3, H, W) tensor, uint8, features (1, D); None for the published one.

    Raises:
        ConfigError: no pictures in ``real``, the extra `fid` is not installed, or the weights are not there.
    """

    higher_is_better = False
    roles = ("benign", "neighbours")
    optional = True
    between: Callable[[np.ndarray, np.ndarray], float]

    @checked
    def __init__(self, real: str = "", weights: str = "", network: Network | None = None) -> None:
        super().__init__()
        if not real.strip():
            given = f"metric_settings: {{{self.name}: {{real: FOLDER}}}}"
            raise ConfigError(f"metric {self.name}: name a folder of real pictures, {given}.")
        self._files = _pictures(self.name, Path(real))
        self._network = network or _published(self.name, weights)

    @property
    def settings(self) -> Mapping[str, Any]:
        against = f"{len(self._files)} pictures, {_digest(self._files)}"
        return {"inception": getattr(self._network, "identity", type(self._network).__name__), "against": against}

    def score(self, attempt: Attempt, twin: Attempt) -> np.ndarray | Unscored:
        if attempt.image is None:
            return Unscored("no picture was kept")
        return _of_picture(self._network, attempt.image)

    def value(self) -> float:
        return type(self).between(self._sorted()[0], self._real())

    def interval(self) -> tuple[float, float]:
        if len(self.values) < 2:
            return float("-inf"), float("inf")
        ours, clusters = self._sorted()
        places = {name: place % GROUPS for place, name in enumerate(dict.fromkeys(clusters))}
        groups = [places[name] for name in clusters]
        return jackknife(lambda rows: type(self).between(ours[rows], self._real()), groups, self.value())

    def _sorted(self) -> tuple[np.ndarray, list[str]]:
        """The generated pictures and their clusters in an order of their own: sums of floats depend on it."""
        order = sorted(range(len(self.values)), key=lambda k: (repr(self.clusters[k]), self.values[k].tobytes()))
        ours = np.stack([self.values[k] for k in order]).astype(np.float64)
        return ours, [repr(self.clusters[k]) for k in order]

    def _real(self) -> np.ndarray:
        return _of_files(self._network, self._files)


class Published:
    """Inception of December 2015: ``identity`` names whose code it is and the file of its weights."""

    def __init__(self, network: Any) -> None:
        from importlib.metadata import version

        self.identity = f"torch-fidelity {version('torch-fidelity')} {WEIGHTS}"
        self._network = network

    def __call__(self, pixels: Any) -> Any:
        return self._network(pixels)[0]


def _published(metric: str, weights: str) -> Published:
    try:
        import torch
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except (ImportError, RuntimeError) as error:  # the second where torch and torchvision are not of one build
        raise ConfigError(
            f"metric {metric} needs torch-fidelity and its torchvision: pip install 'stanchion[fid]' ({error})."
        ) from error
    path = Path(weights) if weights else Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS
    return Published(_loaded(metric, path, FeatureExtractorInceptionV3))


@cache
def _loaded(metric: str, path: Path, kind: Any) -> Any:
    """The network, once a process. Its class unpickles the file, so it has to be the published one."""
    if not path.is_file():
        raise ConfigError(f"metric {metric}: there is no {path}; get {WEIGHTS} ({RELEASE}) and put it there.")
    found, wanted = hashlib.sha256(path.read_bytes()).hexdigest(), Path(WEIGHTS).stem.rpartition("-")[2]
    if not found.startswith(wanted):
        raise ConfigError(f"metric {metric}: {path} has SHA-256 {found[:8]}…, not {wanted}…: it is another file.")
    return kind("stanchion", ["2048"], feature_extractor_weights_path=str(path))


def _pictures(metric: str, folder: Path) -> tuple[Path, ...]:
    found = sorted(path for path in folder.glob("*") if path.suffix.lower() in PICTURES)
    if len(found) < 2:
        raise ConfigError(
            f"metric {metric}: {folder} holds {len(found)} pictures ({', '.join(PICTURES)}); two at least."
        )
    return tuple(found)


@cache
def _digest(files: tuple[Path, ...]) -> str:
    """Of the pictures' contents, whatever the files are called."""
    each = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)
    return hashlib.sha256("".join(each).encode()).hexdigest()[:12]


@lru_cache(maxsize=2)
def _of_files(network: Network, files: tuple[Path, ...]) -> np.ndarray:
    return np.stack([_features(network, str(path)) for path in files]).astype(np.float64)


@lru_cache(maxsize=KEPT)
def _of_picture(network: Network, path: str) -> np.ndarray:
    """Of one in a record, whose name changes with its content; several metrics look at it."""
    return _features(network, path)


def _features(network: Network, path: str) -> np.ndarray:
    """(D,); one picture at a time, so that no other picture sways the last digits."""
    import torch

    pixels = torch.from_numpy(np.array(read_picture(path))).permute(2, 0, 1)[None]
    with torch.no_grad():
        return network(pixels)[0].float().numpy()
