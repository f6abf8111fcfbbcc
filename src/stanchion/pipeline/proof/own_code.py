"""Whether modules still compute with their own code: ``pipe.unet.forward = other.forward`` leaves every hook in place.

What stood there when the guard came is part of what it guards. Hooks of accelerate and of diffusers (offload, caches)
put themselves round ``forward`` and come and go; what lies under them counts. Torch hooks of the libraries that a
pipeline is made of come and go as well: transformers puts some on a text encoder that is asked for its hidden states.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, partial
from types import FunctionType
from typing import Any

from diffusers import DiffusionPipeline
from torch import nn

from ...errors import GuardBypassed
from ..families import FREE
from .every_part import every_part

_LIBRARIES = (__name__.partition(".")[0], "accelerate", "diffusers", "peft", "transformers")
_HOOKS = ("accelerate.hooks", "diffusers.hooks.hooks")
_CALLED = ("forward", "__call__", "_wrapped_call_impl", "_call_impl")  # of what every module has


class OwnCode:
    """What a pipeline and its modules compute with, as it was when this was made.

    Args:
        modules: by the pipeline's attributes. Parts that come later (adapters) may have any class.
        pipeline: the pipeline's class.
    """

    def __init__(self, modules: Mapping[str, nn.Module], pipeline: type) -> None:
        self._modules = modules
        self._kinds = {part: type(part) for part in self._parts()}
        kinds = {pipeline, *self._kinds.values()}
        self._written = {(kind, name): getattr(kind, name) for kind in kinds for name in _methods(kind)}
        self._added = {key: code for part in self._parts() for key, _, code in _additions(part)}

    def check(self) -> None:
        """Raise where other code would run than when this was made.

        Raises:
            GuardBypassed: with the path of what was replaced or added.
        """
        for what in self._changes():
            raise GuardBypassed(
                f"{what} since the guard was attached, so other code than the guarded would run: undo that, or detach "
                "and attach again."
            )

    def _changes(self) -> Iterator[str]:
        for (kind, name), code in self._written.items():
            if getattr(kind, name, None) is not code:
                yield f"{kind.__name__}.{name} was replaced"
        for part in self._parts():
            kind = type(part)
            if self._kinds.get(part, kind) is not kind:
                yield f"{self._path(part)} was given another class"
            if part._forward_pre_hooks or part._forward_hooks or _has_own(part):  # which hardly any has
                for key, what, code in _additions(part):
                    if self._added.get(key) is not code:
                        yield what.format(self._path(part))

    def _parts(self) -> Iterator[nn.Module]:
        return every_part(self._modules.values())

    def _path(self, part: nn.Module) -> str:
        everywhere = (module.named_modules(prefix=root) for root, module in self._modules.items())
        return next(f"pipe.{path}" for paths in everywhere for path, one in paths if one is part)


def sayings_of(pipe: Any) -> dict[str, str]:
    """What a pipeline object itself says in words, as the template round its prompts."""
    public = ((name, value) for name, value in vars(pipe).items() if not name.startswith("_"))
    return {name: value for name, value in public if isinstance(value, str)}


def check_object(pipe: Any, stock: type, given: Mapping[str, Any], sayings: Mapping[str, str]) -> None:
    """Raise where a guarded pipeline draws by other methods than those of its stock class, or says other words.

    ``given`` is what its own class held when it was guarded, ``sayings`` what the object said. What loads, moves or
    shows it is no one's concern here.

    Raises:
        GuardBypassed: with the name of the method or of the words.
    """
    for name, value in vars(pipe).items():
        own = getattr(stock, name, None)
        if name in FREE or not isinstance(own, FunctionType) or hasattr(DiffusionPipeline, name):
            continue
        if getattr(value, "__func__", None) is not own or value.__self__ is not pipe:
            raise GuardBypassed(
                f"pipe.{name} was replaced, so nobody knows what is drawn: delete that attribute. Text states of your "
                "own can be passed as prompt_embeds."
            )
    for name, kept in sayings.items():
        if (held := vars(pipe).get(name)) != kept:
            raise GuardBypassed(
                f"pipe.{name} was {kept!r} when the guard was attached and is {held!r}: put it back, or detach and "
                "attach again."
            )
    now = vars(type(pipe))
    for name in now.keys() | given.keys():
        if now.get(name) is not given.get(name):
            raise GuardBypassed(f"{name} of the guarded pipeline's class was replaced: detach and attach again.")


def _additions(part: nn.Module) -> Iterator[tuple[tuple[int, Any], str, Any]]:
    """(key, what happened where, code) of each method and hook that it does not have from its class or a library."""
    for name in _methods(part.__class__) & vars(part).keys():
        under = _under_hooks(part, name)
        if under is not getattr(type(part), name):
            yield (id(part), name), f"{{}}.{name} was replaced", under
    compiled = part._compiled_call_impl
    if compiled is not None and getattr(compiled, "_torchdynamo_orig_callable", None) != part._call_impl:
        yield (id(part), "_compiled_call_impl"), "{}._compiled_call_impl was replaced", compiled
    for hook in (*part._forward_pre_hooks.values(), *part._forward_hooks.values(), *_library_hooks(part)):
        if str(getattr(hook, "__module__", None)).partition(".")[0] not in _LIBRARIES:
            yield (id(part), id(hook)), "a hook was put on {}", hook


def _library_hooks(part: nn.Module) -> Iterator[Any]:
    """What accelerate and diffusers call round ``forward``: whoever uses them may have hooks of their own there."""
    waiting = [getattr(part, "_hf_hook", None)]
    while waiting:
        hook = waiting.pop()
        if hook is not None:
            yield hook
            waiting += getattr(hook, "hooks", ())  # of a SequentialHook
    registry = getattr(part, "_diffusers_hook", None)
    yield from registry.hooks.values() if registry is not None else ()


def _has_own(part: nn.Module) -> bool:
    """Whether a method stands on the module itself, or what it was compiled to."""
    own = part.__dict__
    return own.get("_compiled_call_impl") is not None or not own.keys().isdisjoint(_methods(part.__class__))


@cache
def _methods(kind: type) -> frozenset[str]:
    """What a module computes with; how it is moved and cast is no one's concern here."""
    names = (name for name in dir(kind) if isinstance(getattr(kind, name), FunctionType))
    return frozenset(name for name in names if name in _CALLED or not hasattr(nn.Module, name))


def _under_hooks(module: nn.Module, name: str) -> Any:
    """The function that runs in the end when the module's method is called."""
    method = vars(module)[name]
    while isinstance(method, partial) and method.func.__module__ in _HOOKS and method.args[:1] == (module,):
        method = vars(method).get("__wrapped__")
    return method.__func__ if getattr(method, "__self__", None) is module else method
