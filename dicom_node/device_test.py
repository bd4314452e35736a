"""The test of a device: a C-ECHO that an operator asked for, done by the worker, its outcome in the trail."""

from __future__ import annotations

import time
from typing import Any

from dicom_node import outgoing
from dicom_node.contexts import EXPLICIT_LITTLE, IMPLICIT_LITTLE, VERIFICATION
from dicom_node.statuses import is_success
from storage import audit
from storage.audit import Act
from storage.database import Database
from storage.institutions import find_application_entity
from storage.jobs import Job
from storage.settings import Settings


def test(database: Database, settings: Settings, job: Job) -> None:
    """Call the device once. Whatever comes of it is an answer: the job never fails, the event says."""
    title = str(job.payload["ae_title"])
    with database.reading() as session:
        device = find_application_entity(session, title)
        session.expunge_all()
    begun, detail, outcome = time.monotonic(), dict[str, Any](), "failure"
    try:
        if device is None:
            raise outgoing.PeerUnreachable("no active device has this AE title")
        proposals = [(VERIFICATION, [EXPLICIT_LITTLE, IMPLICIT_LITTLE])]
        with outgoing.associated(settings, device, proposals) as association:
            answer: Any = association.send_c_echo() if association.accepted_contexts else {}
        if "Status" in answer and is_success(int(answer.Status)):
            outcome, detail["milliseconds"] = "success", round((time.monotonic() - begun) * 1000)
        else:
            detail["reason"] = "the device did not answer the C-ECHO"
    except outgoing.PeerUnreachable as error:
        detail["reason"] = str(error)
    with database.transaction() as session:
        audit.record(
            session,
            Act.DELIVERY,
            "test-device",
            f"device:{title}",
            outcome=outcome,
            ae_title=title,
            **detail,
        )
