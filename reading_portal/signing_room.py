"""Signing in three steps, for API and pages alike: what would be signed; the sealed document, made and
kept outside of any transaction; and the row that makes it current, if nothing moved meanwhile."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from reading_portal.documents import compose_report
from reading_portal.key_images import draw_key_images
from reading_portal.sign_in import confirm_identity
from storage.database import Database
from storage.objects import ObjectStore, new_key
from storage.settings import Settings
from worklist import addenda, issuing, reading_tasks, reports
from worklist.authority import CentreAuthority
from worklist.issuing import Prepared
from worklist.people import Who
from worklist.report_content import ReportContent, Signatory
from worklist.signing import seal, verify_url

# What a seal is for: signing as author, as the second person, or by a later verb.
REASONS = {
    "author": "报告签发",
    "reviewer": "报告审核",
    "append": "补充报告",
    "withdraw": "报告撤回",
}


@dataclass(frozen=True)
class Issued:
    """A version that stands."""

    report_id: int
    version: int
    status: str


@dataclass(frozen=True)
class SigningRoom:
    """One person at the moment of signing, with everything that it takes."""

    database: Database
    objects: ObjectStore
    authority: CentreAuthority
    settings: Settings
    who: Who
    now: datetime
    password: str | None = None
    otp: str | None = None

    @property
    def at(self) -> datetime:
        """The moment of signing, to the second: finer ones are neither printed nor sealed."""
        return self.now.replace(microsecond=0)

    def sign(self, task_id: int, *, fence: int, seen: issuing.Seen | None = None) -> Issued:
        """The author signs: preliminary where a reviewer must follow, otherwise final.

        Raises Missing, StaleFence, WrongState, Refused, Unacceptable, UnprintableReport, WrongCredentials,
        TooManyAttempts; then nothing was issued and the draft stands.
        """
        return self._issue(
            lambda session: issuing.content_to_sign(
                session, self._task(session, task_id), by=self.who, fence=fence, now=self.at, seen=seen
            )
        )

    def approve(self, task_id: int, *, fence: int, seen: issuing.Seen | None = None) -> Issued:
        """The second person signs the author's words; final. Raises what `sign` raises."""
        return self._issue(
            lambda session: issuing.content_to_approve(
                session, self._task(session, task_id), by=self.who, fence=fence, now=self.at, seen=seen
            )
        )

    def reject(self, task_id: int, *, fence: int, note: str) -> Issued:
        """The second person sends the report back with a note; the preliminary version stays what it is."""
        self._confirm()
        with self.database.transaction() as session:
            task = reading_tasks.find_task(session, self.who, task_id)
            issuing.reject(session, task.id, by=self.who, fence=fence, note=note, now=self.at)
            report = reports.report_of_task(session, task, now=self.at)
            return Issued(report.id, report.current_version or 0, report.status)

    def append(self, report_id: int, *, text: str, reason: str) -> Issued:
        """An addendum: a new version that says what was added, by whom and why."""
        return self._issue(
            lambda session: addenda.content_to_append(
                session,
                reports.report_for(session, self.who, report_id),
                text=text,
                reason=reason,
                by=self.who,
                now=self.at,
            )
        )

    def withdraw(self, report_id: int, *, reason: str) -> Issued:
        """A signed statement that the report is not to be used any more."""
        return self._issue(
            lambda session: addenda.content_to_withdraw(
                session,
                reports.report_for(session, self.who, report_id),
                reason=reason,
                by=self.who,
                now=self.at,
            )
        )

    def _issue(self, prepare: Callable[[Session], Prepared]) -> Issued:
        with self.database.transaction() as session:
            prepared = prepare(session)
        self._confirm()
        pdf = self._sealed(prepared)
        key = new_key("reports", self.at)
        # Bytes first, row second: should the row be refused, the object is swept later.
        self.objects.put(key, io.BytesIO(pdf), len(pdf))
        digest = hashlib.sha256(pdf).hexdigest()
        version = self.database.in_transaction(
            lambda session: issuing.issue(
                session,
                prepared,
                pdf_key=key,
                pdf_sha256=digest,
                pdf_size=len(pdf),
                by=self.who,
                now=self.at,
            )
        )
        return Issued(version.report_id, version.version, version.status)

    def _confirm(self) -> None:
        confirm_identity(self.database, self.who, password=self.password, otp=self.otp, now=self.at)

    def _task(self, session: Session, task_id: int) -> int:
        """Asked before anything else: whoever may not see the task does not hear that it is there."""
        return reading_tasks.find_task(session, self.who, task_id).id

    def _sealed(self, prepared: Prepared) -> bytes:
        with self.database.reading() as session:
            pictures = draw_key_images(session, self.objects, prepared.content, by=self.who)
        pdf = compose_report(
            prepared.content,
            key_images=pictures,
            verify_url=verify_url(self.settings.public_url, prepared.verify_token),
        )
        for signatory, reason in seals_for(prepared, self.who, self.at):
            pdf = seal(
                pdf,
                authority=self.authority,
                signer_name=signatory.name,
                signer_username=signatory.username,
                reason=reason,
                at=signatory.signed_at or self.at,
            )
        return pdf


def seals_for(prepared: Prepared, by: Who, now: datetime) -> list[tuple[Signatory, str]]:
    """Whose seals stand on this version, in their order: the signers of its words, or who adds to them.

    On approval the author's seal is set again beside the reviewer's: the words are the author's, unchanged
    since the preliminary version that the author signed.
    """
    content: ReportContent = prepared.content
    if prepared.verb in ("append", "withdraw"):
        own = Signatory(name=by.name, username=by.username, institution_name="", signed_at=now)
        return [(own, REASONS[prepared.verb])]
    seals = [(content.author, REASONS["author"])]
    if content.reviewer is not None:
        seals.append((content.reviewer, REASONS["reviewer"]))
    return seals
