"""The guarded service without any web framework: requests wait, are drawn in batches, and answered.

    with GuardedService(load_policy("policy.yaml")) as service:
        answer = service.submit(Ask("a knife and a cat", width=48, height=48, seed=0)).result()

One thread draws, and nothing else does. Whoever asks gets a future, and may cancel it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Self

from ..errors import Busy, ConfigError, ServiceUnavailable, StanchionError
from .audit import AuditLog
from .ledger import Ledger, LedgerEntry, Place, line_of
from .playground.studio import studio_of
from .policy import Policy
from .requests import Answer, Ask
from .studio import Studio

LOG = logging.getLogger(__name__)

Listener = Callable[[Mapping[str, Any]], None]


class GuardedService:
    """A policy at work.

    Args:
        policy: what to guard against, and what to do.
        studio: who draws; made from the policy where it is None.
        listeners: are told of every request, as the audit log is, after it was written there.

    Raises:
        ServiceUnavailable: the audit log can't be opened.
        StanchionError: whatever keeps the studio from being made.
    """

    def __init__(self, policy: Policy, studio: Studio | None = None, listeners: Sequence[Listener] = ()) -> None:
        self.policy = policy
        self.audit = AuditLog(policy.audit)
        self.studio = studio or studio_of(policy)
        self.listeners = list(listeners)
        self._about = {"model": policy.model, "guards": [f"{one.name} {one.identity}" for one in self.studio.guards]}
        self._ledger = Ledger(policy.limits)
        self._looks: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._changed = threading.Condition()
        self._open, self._broken = True, ""
        self._begun: float | None = None  # when the drawing thread began what it does
        self._drawn_now: Sequence[Place] = ()
        self._thread = threading.Thread(target=self._work, name="stanchion-draws", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self.stop()

    @property
    def waiting(self) -> int:
        """Pictures that wait."""
        with self._changed:
            return self._ledger.waiting

    @property
    def trouble(self) -> str:
        """Why nothing can be served; empty where it can."""
        begun = self._begun
        if begun is not None and time.monotonic() - begun > self.policy.limits.seconds:
            return "the drawing has not come back in time; where it stays so, the server must be started again."
        return self._broken or ("" if self._open else "the service is stopping.")

    def submit(self, ask: Ask) -> Future[Answer]:
        """Line up.

        The future raises ``Refused`` or ``PromptRefused`` where the policy has no picture for that, ``GuardError``
        where a guard failed, ``ServiceUnavailable`` where anything else did. Cancelled, it is not drawn, or what was
        drawn is thrown away.

        Raises:
            ConfigError: the model has no pipeline that begins with a picture.
            Busy: the queue is full.
            ServiceUnavailable: nothing is served now.
        """
        if ask.task not in self.studio.tasks:
            raise ConfigError(f"{self.policy.model} has no pipeline that begins with a picture (task {ask.task!r}).")
        with self._changed:
            self._check()
            entry = self._ledger.add(ask)
            self._changed.notify_all()
        return entry.future

    def look(self, texts: Sequence[str] = (), pictures: Sequence[Any] = ()) -> Future[Any]:
        """What the guards say of texts, and then of RGB pictures: a list of ``Seen``, by the thread that draws.

        Raises:
            Busy: too many wait for that.
            ServiceUnavailable: nothing is served now.
        """

        def ask() -> Any:
            return (self.studio.read(texts) if texts else []) + (self.studio.look(pictures) if pictures else [])

        with self._changed:
            self._check()
            if len(self._looks) >= self.policy.limits.queue:
                raise Busy(f"{len(self._looks)} questions wait already.", 1.0)
            future: Future[Any] = Future()
            self._looks.append((ask, future))
            self._changed.notify_all()
        return future

    def stop(self) -> None:
        """Take nothing more, finish what waits, and return when that is done, or should have been."""
        with self._changed:
            self._open = False
            self._changed.notify_all()
        self._thread.join(self.policy.limits.seconds)
        if self._thread.is_alive():
            self._give_up("the drawing did not come to an end.")
        self.audit.close()

    def _check(self) -> None:
        if trouble := self.trouble:
            raise ServiceUnavailable(trouble)

    def _work(self) -> None:
        try:
            while self._turn():
                pass
        except BaseException as error:  # nobody would draw any more, and everybody would wait
            self._give_up(f"the drawing thread ended: {type(error).__name__}.")
            raise

    def _turn(self) -> bool:
        """The next questions and the next batch; false when the service has stopped and nobody waits."""
        with self._changed:
            idle = self._wait()
            looks, batch = list(self._looks), self._ledger.batch()
            self._looks.clear()
        self._begun = time.monotonic()
        for ask, future in looks:
            if future.set_running_or_notify_cancel():
                _answer(future, _outcome(ask))
        if batch:
            self._draw(batch)
        with self._changed:
            closed = self._ledger.closed()
        self._close(closed)
        self._begun = None
        return not idle

    def _wait(self) -> bool:
        """Until there is something to do, and whether it is nothing because the service has stopped."""
        ledger = self._ledger
        while not (ledger.waiting or ledger.closing or self._looks):
            if not self._open:
                return True
            self._changed.wait()
        while self._open and not self._looks and (left := ledger.patience()) > 0:
            self._changed.wait(left)
        return False

    def _draw(self, batch: Sequence[Place]) -> None:
        """Draw a batch. One that fails is drawn one by one, so that what fails alone costs no other."""
        begun = time.monotonic()
        outcomes = _outcome(lambda: self._drawn(batch))
        if isinstance(outcomes, Exception):
            if len(batch) > 1:
                for place in batch:
                    self._draw([place])
                return
            outcomes = [outcomes]
        with self._changed:
            for place, outcome in zip(batch, outcomes, strict=True):
                self._ledger.note(place, outcome)
            self._ledger.took(time.monotonic() - begun, batch)

    def _drawn(self, batch: Sequence[Place]) -> Sequence[Any]:
        """What the studio makes of them, while somebody waits for one of them."""
        with self._changed:
            self._drawn_now = batch
        for entry, _ in batch:
            entry.future.add_done_callback(self._left)
        try:
            return self.studio.draw([shot for _, shot in batch])
        finally:
            with self._changed:
                self._drawn_now = ()

    def _left(self, future: Future[Answer]) -> None:
        """Where nobody waits any more for what is drawn now, it need not be finished."""
        with self._changed:
            if self._drawn_now and all(entry.future.cancelled() for entry, _ in self._drawn_now):
                self.studio.stop_drawing()

    def _close(self, entries: Sequence[LedgerEntry]) -> None:
        """Write down what is done, and only then hand it out."""
        try:
            lines = self._written(entries)
        except ServiceUnavailable as error:
            self._broken = str(error)
            for entry in entries:
                _answer(entry.future, error)
            self._give_up(self._broken)
            return
        for entry, line in zip(entries, lines, strict=True):
            self._tell(line)
            _answer(entry.future, entry.outcome)

    def _written(self, entries: Sequence[LedgerEntry]) -> Sequence[Mapping[str, Any]]:
        """Their lines, which are in the log now.

        Raises:
            ServiceUnavailable: they are not.
        """
        try:
            lines = [{**self._about, **line_of(entry, self.policy.audit.prompts)} for entry in entries]
            if lines:
                self.audit.write(lines)
        except ServiceUnavailable:
            raise
        except Exception as error:
            raise ServiceUnavailable(f"the audit log can't be written: {error!r}.") from error
        return lines

    def _tell(self, line: Mapping[str, Any]) -> None:
        for tell in self.listeners:
            try:
                tell(line)
            except Exception:  # it is in the log, and whoever asked waits
                LOG.exception("a listener failed")

    def _give_up(self, why: str) -> None:
        with self._changed:
            self._broken = why
            entries, looks = self._ledger.drop(), [future for _, future in self._looks]
            self._looks.clear()
        for entry in entries:
            entry.outcome = ServiceUnavailable(why)
        with suppress(ServiceUnavailable):  # it may be what was given up for
            self._written(entries)
        for future in [*(entry.future for entry in entries), *looks]:
            _answer(future, ServiceUnavailable(why))


def _outcome(ask: Callable[[], Any]) -> Any:
    """What it gives, or an error that says that there is nothing."""
    try:
        return ask()
    except StanchionError as error:
        LOG.warning("%s: %s", type(error).__name__, error)
        return error
    except Exception as error:
        LOG.exception("drawing failed")
        return ServiceUnavailable(f"it could not be drawn: {type(error).__name__}.")


def _answer(future: Future[Any], outcome: Any) -> None:
    """Unless whoever asked has gone."""
    if future.done() or not (future.running() or future.set_running_or_notify_cancel()):
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
