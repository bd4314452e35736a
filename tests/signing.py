"""Signing without the web: the mind's three steps with a small document in the middle."""

import hashlib
import io

from storage.database import Database, utc_now
from storage.objects import ObjectStore, new_key
from tests.cast import person
from worklist.addenda import content_to_append, content_to_withdraw
from worklist.issuing import Prepared, content_to_approve, content_to_sign, issue
from worklist.reading_tasks import claim
from worklist.reports import Draft, ReportVersion, keep_draft, report_for

WORDS = Draft(
    findings="右肺上叶尖段见结节影，大小约12mm。", impression="1. 右肺上叶结节，建议增强扫描\n2. 主动脉硬化"
)


def write(database: Database, task_id: int, username: str, draft: Draft = WORDS) -> int:
    """Claim and write; the fence."""
    with database.transaction() as session:
        by = person(session, username)
        fence = claim(session, task_id, by=by, now=utc_now()).fence
        keep_draft(session, task_id, draft, by=by, fence=fence, now=utc_now())
        return fence


def prepare(
    database: Database, task_id: int, username: str, fence: int, *, is_review: bool = False
) -> Prepared:
    with database.transaction() as session:
        step = content_to_approve if is_review else content_to_sign
        return step(session, task_id, by=person(session, username), fence=fence, now=utc_now())


def issue_prepared(
    database: Database, objects: ObjectStore, prepared: Prepared, username: str
) -> ReportVersion:
    document = f"{prepared.content_hash}".encode()
    key = new_key("reports")
    objects.put(key, io.BytesIO(document), len(document))
    with database.transaction() as session:
        return issue(
            session,
            prepared,
            pdf_key=key,
            pdf_sha256=hashlib.sha256(document).hexdigest(),
            pdf_size=len(document),
            by=person(session, username),
            now=utc_now(),
        )


def sign(
    database: Database, objects: ObjectStore, task_id: int, username: str, *, is_review: bool = False
) -> ReportVersion:
    if is_review:
        with database.transaction() as session:
            fence = claim(session, task_id, by=person(session, username), now=utc_now()).fence
    else:
        fence = write(database, task_id, username)
    prepared = prepare(database, task_id, username, fence, is_review=is_review)
    return issue_prepared(database, objects, prepared, username)


def append(
    database: Database, objects: ObjectStore, report_id: int, username: str, text: str
) -> ReportVersion:
    with database.transaction() as session:
        by = person(session, username)
        report = report_for(session, by, report_id)
        prepared = content_to_append(
            session, report, text=text, reason="补充既往片对比", by=by, now=utc_now()
        )
    return issue_prepared(database, objects, prepared, username)


def withdraw(database: Database, objects: ObjectStore, report_id: int, username: str) -> ReportVersion:
    with database.transaction() as session:
        by = person(session, username)
        report = report_for(session, by, report_id)
        prepared = content_to_withdraw(session, report, reason="报告写错患者", by=by, now=utc_now())
    return issue_prepared(database, objects, prepared, username)
