"""Guards for diffusers pipelines: unwanted concepts are not drawn.

from stanchion import load_guard, load_pipeline

pipe = load_pipeline("reference")
with load_guard("trasce", concept="weapons").attach(pipe) as attachment:
    output, report = attachment.call("a photo of a knife")
    print(report)
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Attachment": ".pipeline.attach.attachment",
    "Concept": ".concepts",
    "ForceForget": ".guards.attention.forceforget",
    "Guard": ".guards.base",
    "GuardStack": ".guards.stack",
    "NegativePrompt": ".guards.trajectory.negative_prompt",
    "PatronusModerator": ".guards.decoder.patronus_moderator",
    "ESD": ".guards.weights.esd",
    "PictureCheck": ".guards.output.picture_check",
    "SAFREE": ".guards.text.safree",
    "SLD": ".guards.trajectory.sld",
    "UCE": ".guards.weights.uce",
    "SteerDiff": ".guards.text.steerdiff",
    "TraSCE": ".guards.trajectory.trasce",
    "load_concept": ".concepts",
    "load_guard": ".guards.loading",
    "load_judge": ".judges",
    "load_pipeline": ".pipeline.loading",
    "load_stack": ".guards.loading",
    "StanchionError": ".errors",
    "ConfigError": ".errors",
    "UnknownName": ".errors",
    "ArtefactError": ".errors",
    "UnsupportedPipeline": ".errors",
    "GuardError": ".errors",
    "GuardBypassed": ".errors",
    "GuardFailed": ".errors",
    "GuardRefused": ".errors",
    "AlreadyAttached": ".errors",
    "JudgeError": ".errors",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first used: torch takes seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
