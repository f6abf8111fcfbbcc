"""Guarding the object that the user holds: its class is swapped for a subclass of the same name.

The subclass reads a few attributes through data descriptors. Inside a guarded call they answer with proxies that
lead through the seams; outside with what was stored. Nothing on the modules or the scheduler is patched, so
whatever the user does to these (offload, compile, a new scheduler) meets the seams again at the next look-up.
"""

from __future__ import annotations

import functools
from contextvars import ContextVar
from typing import Any, Protocol

from ...errors import GuardBypassed


class Seams(Protocol):
    """One guarded call: whose it is, and what stands in for the attributes of that pipeline."""

    pipe: Any

    def proxy_for(self, name: str, original: Any) -> Any: ...


CURRENT: ContextVar[Seams | None] = ContextVar("stanchion_call", default=None)


class Proxy:
    """Answers, is set and is an instance like ``original``, except for what ``overrides`` give."""

    def __init__(self, original: Any, **overrides: Any) -> None:
        vars(self).update(overrides, _original=original, _overrides=tuple(overrides))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return vars(self).get("call", self._original)(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._original, name, value)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._original)


def close(proxy: Any) -> None:
    """Let a proxy lead nowhere any more: a callback may have kept it for after its call, when no guard acts."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise GuardBypassed("this was kept from a guarded call that has ended: use the pipeline's own.")

    if type(proxy) is Proxy:
        vars(proxy).update(dict.fromkeys(vars(proxy)["_overrides"], refuse))


def unwrapped(pipe: Any, name: str) -> Any:
    """What the pipeline holds under a name, whatever call is running."""
    if name in vars(pipe):
        return vars(pipe)[name]
    return getattr(super(type(pipe), pipe) if "_stanchion" in vars(type(pipe)) else pipe, name)


class Seamed:
    """An attribute that a guarded call sees through its seam."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, pipe: Any, owner: type) -> Any:
        if pipe is None:
            return getattr(super(owner, owner), self.name)
        original = unwrapped(pipe, self.name)
        call = CURRENT.get()
        return call.proxy_for(self.name, original) if call is not None and call.pipe is pipe else original

    def __set__(self, pipe: Any, value: Any) -> None:
        vars(pipe)[self.name] = value

    def __delete__(self, pipe: Any) -> None:
        if vars(pipe).pop(self.name, self) is self:
            raise AttributeError(self.name)


def guarded_class(stock: Any, attachment: Any, names: tuple[str, ...]) -> type:
    """A subclass of a stock pipeline class, of the same name, whose calls go through ``attachment.run``."""

    @functools.wraps(stock.__call__)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return attachment.run(self, args, kwargs)[0]

    def maybe_free_model_hooks(self: Any) -> None:
        """The pipeline's last act puts offload hooks on its modules: on these, not on their proxies."""
        token = CURRENT.set(None)
        try:
            stock.maybe_free_model_hooks(self)
        finally:
            CURRENT.reset(token)

    def refuse_copy(self: Any, protocol: int) -> Any:
        raise GuardBypassed("a guarded pipeline can't be copied or pickled: detach, copy, and attach to the copy.")

    namespace: dict[str, Any] = {
        "__call__": call,
        "__reduce_ex__": refuse_copy,
        "__module__": stock.__module__,
        "__qualname__": stock.__qualname__,
        "__doc__": stock.__doc__,
        "maybe_free_model_hooks": maybe_free_model_hooks,
        "_stanchion": attachment,
        **{name: Seamed(name) for name in names},
    }
    return type(stock.__name__, (stock,), namespace)
