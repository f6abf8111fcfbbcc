"""Which subclasses of a known pipeline class are that class to a guard."""

from __future__ import annotations

from ...errors import UnsupportedPipeline

FREE = {  # what a pipeline draws with, checks and moves by: the seams see its results, or do not need it
    "__init__",
    "__doc__",
    "__module__",
    "__qualname__",
    "__annotations__",
    "__static_attributes__",
    "__firstlineno__",
    "check_inputs",
    "prepare_latents",
    "run_safety_checker",
    "progress_bar",
    "model_cpu_offload_seq",
    "_optional_components",
    "_exclude_from_cpu_offload",
    "_callback_tensor_inputs",
}


def check_subclass(kind: type, known: type) -> None:
    """Refuse a subclass that overrides anything of the known class on which a guard may rely.

    Raises:
        UnsupportedPipeline: with the name of the method.
    """
    own = [one for one in kind.__mro__[: kind.__mro__.index(known)] if one not in known.__mro__]
    for one in own:
        for name in vars(one):
            if name not in FREE and hasattr(known, name):
                raise UnsupportedPipeline(
                    f"{kind.__name__} overrides {name} of {known.__name__} (in {one.__name__}), on which guards rely: "
                    f"leave {name} as it is, or guard a {known.__name__} with the same components."
                )
