"""What a device sent wrong: what was corrected, correcting, and taking it back."""

from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from reading_portal.dependencies import (
    CurrentPractitioner,
    Now,
    Objects,
    OpenSession,
    ReadSession,
    TheDatabase,
)
from reading_portal.shapes import Answer, Key, Shape, UidKey
from reading_portal.viewing import note_view
from storage.corrections import Correction, corrections_of, version_of
from storage.rereading import first_headers, how_read
from worklist.corrections import Wanted, correct_study, find_correctable, reread_study, undo_correction
from worklist.problems import Missing

router = APIRouter(prefix="/api/studies", tags=["corrections"])

Reason = Annotated[str, Field(max_length=1000)]
Version = Annotated[int, Field(ge=0, le=2**31 - 1)]


class NewCorrection(Shape):
    reason: Reason
    version: Version
    order: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    patient_id: Annotated[str, Field(max_length=64)] | None = None
    name: Annotated[str, Field(max_length=256)] | None = None
    sex: Annotated[str, Field(max_length=1)] | None = None
    birth_date: Annotated[date, Field(strict=False)] | None = None
    accession_number: Annotated[str, Field(max_length=16)] | None = None
    study_description: Annotated[str, Field(max_length=64)] | None = None
    series: Annotated[tuple[Annotated[str, Field(pattern=r"^[0-9.]{1,64}$")], ...], Field(strict=False)] = ()
    body_part: Annotated[str, Field(max_length=16)] | None = None
    laterality: Annotated[str, Field(max_length=1)] | None = None


class Undoing(Shape):
    reason: Reason
    version: Version


class NewReading(Shape):
    charset: Annotated[str, Field(max_length=64)]
    version: Version


class ReadingSeen(Answer):
    charset: str
    texts: dict[str, str]


class TextRead(Answer):
    declared: list[str]
    used: str
    is_guess: bool
    chosen: str | None
    now: ReadingSeen
    others: list[ReadingSeen]


class CorrectionSeen(Answer):
    id: int
    changes: list[dict[str, Any]]
    reason: str
    made_by: str
    made_at: datetime
    undone_by: str | None
    undone_at: datetime | None
    undone_reason: str | None


class Corrections(Answer):
    version: int
    items: list[CorrectionSeen]


@router.get("/{study_instance_uid}/corrections")
def list_corrections(
    study_instance_uid: UidKey,
    who: CurrentPractitioner,
    session: ReadSession,
    database: TheDatabase,
    now: Now,
) -> Corrections:
    """What was corrected of this study and its patient, the newest first, and the `version` that this is."""
    study = find_correctable(session, who, study_instance_uid)
    note_view(database, who, study_instance_uid, now=now)
    return Corrections(
        version=version_of(session, study), items=[_seen(one) for one in corrections_of(session, study)]
    )


@router.post("/{study_instance_uid}/corrections", status_code=201)
def correct(
    study_instance_uid: UidKey, body: NewCorrection, who: CurrentPractitioner, session: OpenSession, now: Now
) -> CorrectionSeen:
    """Another `order`, another patient, or what is said of either; the rest stays as it is."""
    said = body.model_dump(exclude={"reason", "version", "series"})
    wanted = Wanted(**said, series=body.series)
    made = correct_study(
        session, study_instance_uid, wanted, reason=body.reason, version=body.version, by=who, now=now
    )
    return _seen(made)


@router.post("/{study_instance_uid}/corrections/{correction_id}/undo")
def undo(
    study_instance_uid: UidKey,
    correction_id: Key,
    body: Undoing,
    who: CurrentPractitioner,
    session: OpenSession,
    now: Now,
) -> Corrections:
    """Everything says again what it said before, the last correction first."""
    undo_correction(
        session,
        study_instance_uid,
        correction_id,
        reason=body.reason,
        version=body.version,
        by=who,
        now=now,
    )
    study = find_correctable(session, who, study_instance_uid)
    return Corrections(
        version=version_of(session, study), items=[_seen(one) for one in corrections_of(session, study)]
    )


@router.get("/{study_instance_uid}/text")
def text_of_study(
    study_instance_uid: UidKey,
    who: CurrentPractitioner,
    session: ReadSession,
    objects: Objects,
    database: TheDatabase,
    now: Now,
) -> TextRead:
    """How the study's text was read, and how else its bytes can be read, with a sample of each."""
    study = find_correctable(session, who, study_instance_uid)
    note_view(database, who, study_instance_uid, now=now)
    seen = how_read(study, first_headers(session, objects, study))
    if seen is None:
        raise Missing("no image of this study can be read")
    return TextRead(
        declared=list(seen.declared),
        used=seen.used,
        is_guess=seen.is_guess,
        chosen=seen.chosen,
        now=ReadingSeen(charset=seen.now.charset, texts=seen.now.texts),
        others=[ReadingSeen(charset=one.charset, texts=one.texts) for one in seen.others],
    )


@router.post("/{study_instance_uid}/text", status_code=201)
def read_text_anew(
    study_instance_uid: UidKey,
    body: NewReading,
    who: CurrentPractitioner,
    session: OpenSession,
    objects: Objects,
    now: Now,
) -> CorrectionSeen:
    """Read all text of the study from its bytes by this character set; undone as any correction."""
    return _seen(
        reread_study(
            session, objects, study_instance_uid, body.charset, version=body.version, by=who, now=now
        )
    )


def _seen(one: Correction) -> CorrectionSeen:
    return CorrectionSeen(
        id=one.id,
        changes=one.changes,
        reason=one.reason,
        made_by=one.made_by,
        made_at=one.made_at,
        undone_by=one.undone_by,
        undone_at=one.undone_at,
        undone_reason=one.undone_reason,
    )
