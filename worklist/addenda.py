"""What may be added, corrected or withdrawn after a signature: always a new version, never an edit."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from worklist.issuing import Prepared, prepare
from worklist.people import Practitioner, Role, Who, may_read, must_have, who
from worklist.problems import Missing, Refused, Unacceptable, WrongState
from worklist.report_content import AddendumText, content_of
from worklist.report_facts import signatory
from worklist.reports import FINISHED, DiagnosticReport, ReportStatus, version_of


def content_to_append(
    session: Session, report: DiagnosticReport, *, text: str, reason: str, by: Who, now: datetime
) -> Prepared:
    """The next version with an addendum on its first page. Raises Refused, Unacceptable, WrongState."""
    if not text.strip() or not reason.strip():
        raise Unacceptable("an addendum has a text and a reason")
    words = _words_of_current(session, report, by, now)
    addendum = AddendumText(text=text.strip(), reason=reason.strip(), author=signatory(session, by, now))
    earlier = words.pop("addenda")
    return prepare(
        session,
        "append",
        report,
        task=None,
        author=words.pop("author_who"),
        reviewer=words.pop("reviewer_who"),
        status=ReportStatus.APPENDED,
        now=now,
        addenda=(*earlier, addendum),
        **words,
    )


def content_to_withdraw(
    session: Session, report: DiagnosticReport, *, reason: str, by: Who, now: datetime
) -> Prepared:
    """A signed statement that this report is not to be used any more."""
    if not reason.strip():
        raise Unacceptable("a report is withdrawn with a reason")
    words = _words_of_current(session, report, by, now)
    return prepare(
        session,
        "withdraw",
        report,
        task=None,
        author=words.pop("author_who"),
        reviewer=words.pop("reviewer_who"),
        status=ReportStatus.ENTERED_IN_ERROR,
        now=now,
        withdrawn_reason=reason.strip(),
        withdrawn_by=signatory(session, by, now),
        **words,
    )


def _words_of_current(session: Session, report: DiagnosticReport, by: Who, now: datetime) -> dict[str, Any]:
    """The signed words, carried over unchanged. Only its signers and reviewers may add to a report."""
    if report.status not in FINISHED:
        raise WrongState(f"a report that is {report.status} takes no addendum")
    current = version_of(session, report)
    must_have(by, Role.READER, Role.REVIEWER)
    if by.username not in (current.author, current.reviewer) and not by.has(Role.REVIEWER):
        raise Refused("an addendum is written by the report's signers or by a reviewer")
    refusal = may_read(
        session, by, institution_code=report.institution_code, modality=report.modality, now=now
    )
    if refusal is not None:
        raise Refused(refusal)
    author = session.get(Practitioner, current.author)
    if author is None:
        raise Missing("the author of this report is not known any more")
    reviewer = session.get(Practitioner, current.reviewer) if current.reviewer else None
    said = current.content
    return {
        "author_who": who(author),
        "reviewer_who": who(reviewer) if reviewer else None,
        "author_signed_at": datetime.fromisoformat(said["author"]["signed_at"]),
        "reviewer_signed_at": datetime.fromisoformat(said["reviewer"]["signed_at"]) if reviewer else None,
        "findings": said["findings"],
        "impression": tuple(said["impression"]),
        "recommendation": said["recommendation"],
        "addenda": content_of(said).addenda,
    }
