"""Guards on one pipeline object: put on, checked at every call, taken off without a trace."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Literal, get_args

from torch import nn

from ...errors import AlreadyAttached, ConfigError, GuardBypassed, GuardRefused, UnsupportedPipeline
from ..families import family_of, kind_of
from ..model.base_weights import check_bases
from ..phrase_cache import PhraseCache
from ..proof.own_code import OwnCode, check_object, sayings_of
from ..proof.tripwire import Tripwire
from ..proof.unchanged import Unchanged
from ..seams.weights import WeightsSeam
from ..stages import Stage
from .guarded_call import GuardedCall
from .guarded_class import Proxy, guarded_class, unwrapped
from .reports import Report
from .turns import turn

Cover = Literal["whole", "partial"]


class Attachment(AbstractContextManager["Attachment"]):
    """What ``guard.attach(pipe)`` returns. From then on every call of ``pipe`` is guarded or raises.

    Calls of one pipeline, and of pipelines that share modules or a scheduler, wait for each other. Used in a ``with``
    statement, the guards are taken off at its end.

    Attributes:
        pipeline: the guarded pipeline object.
        guards: what guards it, in stage order.
        cover: "whole"; or "partial" where the caller lets parts of a prompt pass that no text guard reads.
        last: what the guards did in the last call that returned; None after one that raised. Where threads share the
            pipeline it may be of another thread's call: ``call`` gives a call's own.

    Raises:
        AlreadyAttached: the pipeline is guarded already.
        UnsupportedPipeline: no seam knows this pipeline, or one of the guards can't stand on its family.
        ConfigError: guards that can't stand together.
        ArtefactError: a guard that was made for other weights, or holds NaN or infinity.
        GuardBypassed: a pipeline that shares modules with this one is drawing, in this thread.
    """

    def __init__(self, pipeline: Any, guards: tuple[Any, ...], cover: Cover = "whole") -> None:
        if attached := getattr(type(pipeline), "_stanchion", None):
            names = "+".join(guard.name for guard in attached.guards)
            raise AlreadyAttached(
                f"the pipeline is guarded by {names} already; put several guards into one GuardStack."
            )
        self.pipeline = pipeline
        self.guards = in_stage_order(guards)
        if cover not in get_args(Cover):
            raise ConfigError(f"cover is {cover!r}; give {' or '.join(map(repr, get_args(Cover)))}.")
        self.cover = cover
        self.family = family_of(pipeline)
        self.family.check_guards(kind_of(pipeline), self.guards, cover)
        for guard in (guard for guard in self.guards if "streams" in guard.needs):
            guard.check_streams([stream.name for stream in self.family.streams(pipeline)], cover)
        self.last: Report | None = None
        self._stock = type(pipeline)
        self._signature = inspect.signature(self._stock.__call__)
        self._modules: dict[str, Any] = {name: getattr(pipeline, name, None) for name in self.family.modules}
        self._book = PhraseCache()
        with self._turn("a guard can't be put on while a pipeline on the same modules draws.") as undo:
            check_bases(pipeline, self.guards, self.family.named)
            self._weights = WeightsSeam(pipeline, [guard for guard in self.guards if guard.weights()])
            self._put_on(undo)
            self._undo: ExitStack | None = undo.pop_all()

    def _put_on(self, undo: ExitStack) -> None:
        """Weights, hooks and class; ``undo`` knows at every moment how to take off what is on."""
        self._weights.put()
        undo.callback(self._weights.restore)
        undo.enter_context(self._weights.watched())
        self._unchanged = Unchanged(self.pipeline, self.guards, self.family)
        modules = {name: module for name, module in self._modules.items() if isinstance(module, nn.Module)}
        self._code = OwnCode(modules, self._stock)
        self._tripwires = []
        for module, what in self._tripped():
            self._tripwires.append(Tripwire(module, what))
            undo.callback(self._tripwires[-1].remove)
        seamed = ("encode_prompt", *self.family.denoisers, "scheduler", "vae")
        self.pipeline.__class__ = guarded_class(self._stock, self, seamed)
        undo.callback(setattr, self.pipeline, "__class__", self._stock)
        self._given, self._sayings = dict(vars(type(self.pipeline))), sayings_of(self.pipeline)

    def _tripped(self) -> list[tuple[Any, str]]:
        """The modules that may run inside guarded calls only."""
        denoisers = [(one, "denoiser") for one in self.family.denoisers_of(self.pipeline)]
        if not any(guard.stage is Stage.DECODER for guard in self.guards):
            return denoisers
        if self._modules["vae"] is None:
            raise UnsupportedPipeline("the pipeline has no VAE, so a guard of the decoder has nothing to guard.")
        return [*denoisers, (self._modules["vae"].decoder, "decoder")]

    @contextmanager
    def _turn(self, refusal: str) -> Iterator[ExitStack]:
        """Nobody else draws with, or changes, what this pipeline may share with others."""
        shared = (*self._modules.values(), unwrapped(self.pipeline, "scheduler"))
        with turn(shared, refusal), ExitStack() as undo:
            yield undo

    def __repr__(self) -> str:
        names, pipeline = "+".join(guard.name for guard in self.guards), type(self.pipeline).__name__
        return f"<Attachment of {names} on {pipeline}{'' if self.attached else ', detached'}>"

    @property
    def attached(self) -> bool:
        """Whether the guards are on."""
        return vars(type(self.pipeline)).get("_stanchion") is self

    def detach(self) -> None:
        """Take the guards off: class, hooks and weights are what they were. Does nothing the second time.

        Raises:
            GuardBypassed: the pipeline draws; or an adapter is fused into weights that a guard replaced, and would
                later be subtracted from the originals. The guards stay on.
        """
        with self._turn("the guards can't be taken off while the pipeline draws."):
            if self._undo is None:
                return
            self._weights.check_removable()
            self._undo.close()
            self._undo = None

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
            if unwrapped(self.pipeline, name) is not module:
                raise GuardBypassed(
                    f"pipe.{name} was replaced since the guard was attached: detach, and attach to the new one "
                    "(to compile, use pipe.unet.compile(), which compiles in place)."
                )
        if not all(tripwire.in_place for tripwire in self._tripwires):
            raise GuardBypassed("the guard's hook was taken off a module; detach and attach again.")
        self._code.check()
        check_object(self.pipeline, self._stock, self._given, self._sayings)
        self._weights.check(contents=contents)
        self._unchanged.check(contents=contents)

    def call(self, *args: Any, **kwargs: Any) -> tuple[Any, Report]:
        """Call the pipeline: what it returns, and what the guards did in this very call, whatever other threads do."""
        return self.run(self.pipeline, args, kwargs)

    def run(self, pipe: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Report]:
        """The pipeline's call, guarded: what the stock pipeline returns, and the report."""
        if pipe is not self.pipeline:
            raise GuardBypassed("this pipeline took its class from a guarded one, but has no guard: attach one to it.")
        given, complete = (self._signature.bind(pipe, *args, **kwargs) for _ in range(2))
        complete.apply_defaults()
        with self._turn("the pipeline was called from inside its own call, or that of one with the same modules."):
            self.last = None
            self._check(contents=False)
            reader = self._reader()
            self.family.check_call(pipe, complete.arguments, self.guards, reader)
            book, self._book = self._book, PhraseCache()  # of a call that fails nobody knows what it was encoded with
            call = GuardedCall(
                pipe, self.family, self.guards, complete.arguments, book, self._weights, heard=bool(reader)
            )
            self._watch(given, call)
            with call.running(), told(call):
                output = self._stock.__call__(*given.args, **given.kwargs)
            output = call.output.checked(output)
            self._check(contents=True)
            with told(call):
                self.last = report = call.finish()
            self._book = book
        return output, report

    def _reader(self) -> str:
        """The name of a guard that goes by the prompt's text states, and must not be told less than the denoiser."""
        readers = (guard.name for guard in self.guards if guard.reads_prompt(self.family.offers))
        return next(readers, "") if self.cover == "whole" else ""

    def _watch(self, given: inspect.BoundArguments, call: GuardedCall) -> None:
        """Look at everything that the guards stand on after each of the caller's callbacks."""

        def then_look(callback: Any) -> Proxy:
            def watched(*args: Any, **kwargs: Any) -> Any:
                with call.interrupted():
                    result = callback(*args, **kwargs)
                self._check(contents=False)
                self._weights.check(contents=True)
                return result

            return Proxy(callback, call=watched)

        for arguments in (given.arguments, given.arguments.get("kwargs", {})):
            for name in self.family.callbacks:
                if arguments.get(name) is not None:
                    arguments[name] = then_look(arguments[name])


@contextmanager
def told(call: GuardedCall) -> Iterator[None]:
    """A refusal says what the guards did until then."""
    try:
        yield
    except GuardRefused as found:
        found.report = call.so_far()
        raise


def in_stage_order(guards: tuple[Any, ...]) -> tuple[Any, ...]:
    """The guards sorted by stage; within a stage their order stays.

    Raises:
        ConfigError: none; more than one that steers the trajectory; two monitors of one concept; or a guard that waits
            for a monitor which is not among them.
    """
    if not guards:
        raise ConfigError("give at least one guard.")
    steering = [guard.name for guard in guards if guard.stage is Stage.TRAJECTORY and not guard.watches]
    if len(steering) > 1:
        raise ConfigError(
            f"{' and '.join(steering)} both steer the trajectory, and only one prediction can be used: keep one. "
            "Several concepts fit into one guard as target phrases."
        )
    watched = [guard.concept.name for guard in guards if guard.watches]
    if len(set(watched)) < len(watched):
        raise ConfigError(f"two monitors watch for {' and '.join(sorted(watched))}: keep one for each concept.")
    for guard in guards:
        if guard.asks_monitor and guard.concept.name not in watched:
            raise ConfigError(
                f"{guard.name} has when={guard.settings.when!r}, and no monitor watches for {guard.concept.name}: put "
                "the guard 'monitor' for that concept into the same GuardStack, or set another when."
            )
    return tuple(sorted(guards, key=lambda guard: guard.stage.place))
