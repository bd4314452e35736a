"""The C-STORE sub-operations of C-MOVE and C-GET: their counts, what failed, and when to stop."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from dicom_node.command_set import SubOperationCounts
from dicom_node.exchange import Exchange
from dicom_node.line import Line, PeerBroken, PeerGone, PeerSilent
from dicom_node.retrieval import Wanted
from dicom_node.statuses import Status, is_success, is_warning
from dicom_node.storage_user import CannotRead, Parcel, StorageUser
from storage.objects import StoreAway
from storage.sound import SoundObjects

log = logging.getLogger("reading_center.dicom")

FAILED_SOP_INSTANCE_UID_LIST = "00080058"
MOST_NAMED = 900  # of the failed, in an identifier that every peer can take
# A store that is away costs seconds for each object: after so many in a row the rest is not tried.
MOST_AWAY = 2
LOOK_EVERY = REPORT_EVERY = 0.05  # seconds: a fast destination takes thousands of objects in one
CANCEL_SECONDS = 0.5  # that a cancelled request still waits for the answer that is due


def anything(_instance: Wanted) -> bool:
    return True


class RequesterGone(Exception):
    """Whoever asked has ended the association; its cause says how."""


@dataclass
class Tally:
    """PS3.4 C.4.2.1.6: remaining, completed, failed, warning."""

    remaining: int
    completed: int = 0
    warning: int = 0
    failed: list[str] = field(default_factory=list)

    def count(self, wanted: Wanted, status: int | None) -> None:
        """Count one finished sub-operation; None: it could not even be tried."""
        self.remaining -= 1
        if status is not None and is_success(status):
            self.completed += 1
        elif status is not None and is_warning(status):
            self.warning += 1
        else:
            self.failed.append(wanted.sop_instance_uid)

    def counts(self, *, is_final: bool) -> SubOperationCounts:
        # PS3.7 9.1.3.1: final answers other than "cancelled" carry no remaining count.
        return SubOperationCounts(
            None if is_final else self.remaining, self.completed, len(self.failed), self.warning
        )


class SubOperations:
    """Of one request: each instance is sent and counted once, and `requester` hears of it."""

    def __init__(
        self, exchange: Exchange, requester: Line, wanted: list[Wanted], objects: SoundObjects
    ) -> None:
        self.waiting = deque(wanted)
        self._exchange = exchange
        self._requester = requester
        self._objects = objects
        self._tally = Tally(len(wanted))
        self._away = 0  # objects in a row for which the store was away
        self._looked_at = self._reported_at = self._cancelled_at = 0.0

    @property
    def is_cancelled(self) -> bool:
        """Raises RequesterGone."""
        now = time.monotonic()
        if now - self._looked_at >= LOOK_EVERY:
            self._looked_at = now
            try:
                self._requester.look()
            except PeerGone as error:
                raise RequesterGone from error
            if not self._cancelled_at and self._exchange.is_cancelled_on(self._requester):
                self._cancelled_at = now
        return self._cancelled_at > 0

    def is_wanted(self) -> bool:
        """Whether somebody waits for an answer of the destination: asked while it lets us wait."""
        try:
            return not self.is_cancelled or time.monotonic() - self._cancelled_at < CANCEL_SECONDS
        except RequesterGone:
            return False

    def send(self, user: StorageUser, *, only: Callable[[Wanted], bool] = anything) -> None:
        """Send what waits, until `only` says no or the request is cancelled.

        Raises PeerGone and CannotRead, after which the association of `user` is over, and RequesterGone.
        """
        loaded = self._load(user, only)
        while loaded is not None:
            (instance, parcel), loaded = loaded, None
            try:
                user.send(parcel)
                # The next is read while the peer works on this one.
                loaded = self._load(user, only)
                status = user.answer()
            except Exception:
                # Of a peer that is gone half way, or an object of which only a part could be read.
                self._count(instance, None)
                if loaded is not None:
                    loaded[1].dataset.close()
                    self.waiting.appendleft(loaded[0])
                raise
            self._count(instance, status)

    def bring_forward(self, only: Callable[[Wanted], bool]) -> None:
        """Let these wait at the front."""
        self.waiting = deque(sorted(self.waiting, key=lambda instance: not only(instance)))

    def fail(self, *, only: Callable[[Wanted], bool] = anything) -> None:
        """Count what waits as failed: its peer cannot be reached."""
        while self.waiting and only(self.waiting[0]):
            self._count(self.waiting.popleft(), None)

    def finish(self) -> tuple[Status, Tally]:
        """The last answer's status."""
        tally = self._tally
        if tally.remaining:
            return Status.CANCEL, tally
        # PS3.4 C.4.2.1.5: all failed is a failure, some is a warning.
        if tally.failed and not tally.completed and not tally.warning:
            return Status.CANNOT_SEND, tally
        return (Status.WARNING if tally.failed or tally.warning else Status.SUCCESS), tally

    def _load(self, user: StorageUser, only: Callable[[Wanted], bool]) -> tuple[Wanted, Parcel] | None:
        """The next that can be sent; what cannot is counted as failed."""
        while self.waiting and (only is anything or only(self.waiting[0])) and not self.is_cancelled:
            instance = self.waiting.popleft()
            try:
                if self._away >= MOST_AWAY:
                    raise StoreAway("the object store was away for the last ones")
                parcel = user.load(instance.departing(self._objects))
            except Exception as error:
                # Stores and decoders raise whatever they like; here it is one sub-operation that failed.
                log.info("%s cannot be sent: %s", instance.sop_instance_uid, type(error).__name__)
                self._away += isinstance(error, StoreAway)
                self._count(instance, None)
                continue
            self._away = 0
            return instance, parcel
        return None

    def _count(self, instance: Wanted, status: int | None) -> None:
        self._tally.count(instance, status)
        self._exchange.association.note_study(instance.study_instance_uid)
        # A pending answer from time to time: each would cost as much as a tenth of an image.
        now = time.monotonic()
        if now - self._reported_at >= REPORT_EVERY and self._tally.remaining:
            self._reported_at = now
            try:
                self._exchange.answer_on(self._requester, Status.PENDING, self._tally.counts(is_final=False))
            except PeerGone as error:
                raise RequesterGone from error


def perform(
    exchange: Exchange,
    wanted: list[Wanted],
    objects: SoundObjects,
    work: Callable[[SubOperations, Line], None],
) -> None:
    """Let `work` send the instances; answer at the end with true counts, unless the requester has left."""
    association = exchange.association
    try:
        with association.line() as requester:
            operations = SubOperations(exchange, requester, wanted, objects)
            work(operations, requester)
            status, tally = operations.finish()
            counts = tally.counts(is_final=status is not Status.CANCEL)
            if not tally.failed:
                exchange.answer_on(requester, status, counts)
                return
    except (RequesterGone, PeerGone, CannotRead) as error:
        # Whoever releases or aborts is answered by the upper layer; with everybody else it is over here.
        if isinstance(error.__cause__ or error, PeerBroken | PeerSilent | CannotRead):
            association.abort()
        return
    named = {"vr": "UI", "Value": tally.failed[:MOST_NAMED]}
    exchange.answer_counts(status, counts, dataset={FAILED_SOP_INSTANCE_UID_LIST: named})
