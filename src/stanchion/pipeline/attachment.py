"""Guards on one pipeline object: put on, checked at every call, taken off without a trace."""

from __future__ import annotations

import inspect
import threading
from contextlib import AbstractContextManager, ExitStack
from typing import Any

from ..errors import AlreadyAttached, ConfigError, GuardBypassed
from ..types import Report
from .families import family_of
from .guarded_call import GuardedCall
from .phrase_book import PhraseBook
from .stages import Stage
from .stand_in import guarded_class, raw
from .tripwire import Tripwire
from .unchanged import Unchanged
from .weights_seam import WeightsSeam, check_bases


class Attachment(AbstractContextManager["Attachment"]):
    """What ``guard.attach(pipe)`` returns. From then on every call of ``pipe`` is guarded or raises.

    Calls of one pipeline wait for each other. Used in a ``with`` statement, the guards are taken off at its end.

    Attributes:
        pipeline: the guarded pipeline object.
        guards: what guards it, in stage order.
        last: what the guards did in the last call that returned; None after one that raised.

    Raises:
        AlreadyAttached: the pipeline is guarded already.
        UnsupportedPipeline: no seam knows this pipeline.
        ConfigError: guards that can't stand together.
        ArtefactError: a guard that was made for other weights.
    """

    def __init__(self, pipeline: Any, guards: tuple[Any, ...]) -> None:
        if attached := getattr(type(pipeline), "_stanchion", None):
            names = "+".join(guard.name for guard in attached.guards)
            raise AlreadyAttached(
                f"the pipeline is guarded by {names} already; put several guards into one GuardStack."
            )
        self.pipeline = pipeline
        self.guards = in_stage_order(guards)
        self.family = family_of(pipeline)
        self.last: Report | None = None
        self._stock = type(pipeline)
        self._modules = {name: getattr(pipeline, name) for name in self.family.modules}
        self._lock = threading.RLock()
        self._running = False
        self._book = PhraseBook()
        check_bases(pipeline, self.guards)
        with ExitStack() as undo:
            self._weights = WeightsSeam(pipeline, [guard for guard in self.guards if guard.weights()])
            undo.callback(self._weights.restore)
            self._unchanged = Unchanged(pipeline, self.guards)
            self._tripwires = [Tripwire(self._modules[self.family.denoiser], "denoiser")]
            if any(guard.stage is Stage.DECODER for guard in self.guards):
                self._tripwires.append(Tripwire(self._modules["vae"].decoder, "decoder"))
            for tripwire in self._tripwires:
                undo.callback(tripwire.remove)
            seamed = ("encode_prompt", self.family.denoiser, "scheduler", "vae")
            pipeline.__class__ = guarded_class(self._stock, self, seamed)
            undo.callback(setattr, pipeline, "__class__", self._stock)
            self._undo = undo.pop_all()

    @property
    def attached(self) -> bool:
        """Whether the guards are on."""
        return vars(type(self.pipeline)).get("_stanchion") is self

    def detach(self) -> None:
        """Take the guards off: class, hooks and weights are what they were. Does nothing the second time."""
        with self._lock:
            if self._running:
                raise GuardBypassed("the guards can't be taken off while the pipeline draws.")
            self._undo.close()

    def __exit__(self, *error: Any) -> None:
        self.detach()

    def assert_active(self) -> None:
        """Raise unless the next call would be guarded.

        Raises:
            GuardBypassed: detached; or a module, a hook or a weight is no longer what the guards were put on.
        """
        self._check(contents=True)

    def _check(self, *, contents: bool) -> None:
        if not self.attached:
            raise GuardBypassed("the guards are detached from this pipeline.")
        for name, module in self._modules.items():
            if raw(self.pipeline, name) is not module:
                raise GuardBypassed(
                    f"pipe.{name} was replaced since the guard was attached: detach, and attach to the new one "
                    "(to compile, use pipe.unet.compile(), which compiles in place)."
                )
        if not all(tripwire.in_place for tripwire in self._tripwires):
            raise GuardBypassed("the guard's hook was taken off a module; detach and attach again.")
        self._weights.check()
        self._unchanged.check(contents=contents)

    def run(self, pipe: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The pipeline's call, guarded. What it returns is what the stock pipeline returns."""
        if pipe is not self.pipeline:
            raise GuardBypassed("this pipeline took its class from a guarded one, but has no guard: attach one to it.")
        arguments = inspect.signature(self._stock.__call__).bind(pipe, *args, **kwargs)
        arguments.apply_defaults()
        with self._lock:
            if self._running:
                raise GuardBypassed("the pipeline was called from inside its own call.")
            self._running, self.last = True, None
            try:
                self._check(contents=False)
                call = GuardedCall(pipe, self.family, self.guards, dict(arguments.arguments), self._book)
                with call.running():
                    output = self._stock.__call__(pipe, *args, **kwargs)
                self._check(contents=True)
                self.last = call.finish()
            finally:
                self._running = False
            return output


def in_stage_order(guards: tuple[Any, ...]) -> tuple[Any, ...]:
    """The guards sorted by stage; within a stage their order stays.

    Raises:
        ConfigError: none, or more than one that steers the trajectory.
    """
    if not guards:
        raise ConfigError("give at least one guard.")
    steering = [guard.name for guard in guards if guard.stage is Stage.TRAJECTORY]
    if len(steering) > 1:
        raise ConfigError(
            f"{' and '.join(steering)} both steer the trajectory, and only one prediction can be used: keep one. "
            "Several concepts fit into one guard as target phrases."
        )
    return tuple(sorted(guards, key=lambda guard: guard.stage.place))
