"""Patient, Study, Series, Instance: the DICOM information model (PS3.3 7) as rows."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import BigInteger, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from storage.database import Base, LateJson


class ArrivalState(StrEnum):
    """Whether a study still grows."""

    RECEIVING = "receiving"
    SETTLED = "settled"


class Origin(StrEnum):
    """What an object is to its study: only what was received as a part of it reopens it and is counted."""

    RECEIVED = "received"
    MADE = "made"  # by us: reports
    LISTING = "listing"  # a sender's list of what belongs to the study (storage.instance_lists)


class Patient(Base):
    """One patient of one issuer. The same ID at two hospitals is two patients."""

    __tablename__ = "patients"
    __table_args__ = (
        UniqueConstraint("issuer", "patient_id"),
        # Devices ask for an ID without its issuer, whole or by its beginning.
        Index(None, "patient_id", postgresql_ops={"patient_id": "varchar_pattern_ops"}),
        Index(
            "ix_patients_not_compared",
            "id",
            sqlite_where=text("compared_at IS NULL"),
            postgresql_where=text("compared_at IS NULL"),
        ),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    issuer: Mapped[str]
    patient_id: Mapped[str]
    name: Mapped[str] = mapped_column(default="")  # all PN groups, "ZHANG^SAN=张^三"
    sex: Mapped[str] = mapped_column(default="")
    birth_date: Mapped[date | None]
    national_id: Mapped[str | None] = mapped_column(index=True)
    phone: Mapped[str | None]
    # Patients that are one person share it: the smallest of their ids (storage.persons).
    person_id: Mapped[int | None] = mapped_column(index=True)
    created_at: Mapped[datetime]
    compared_at: Mapped[datetime | None]  # with all others, as it stands now (storage.proposals)


class PatientNameToken(Base):
    """What a name is found by: its characters, its pinyin, its initials; searched by prefix."""

    __tablename__ = "patient_name_tokens"
    patient_id: Mapped[int] = mapped_column(ForeignKey("patients.id", ondelete="CASCADE"), primary_key=True)
    token: Mapped[str] = mapped_column(primary_key=True, index=True)


class Study(Base):
    __tablename__ = "studies"
    __table_args__ = (
        Index(None, "institution_code", "study_date"),
        Index(None, "arrival_state", "last_instance_at"),
        Index(None, "accession_number"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    study_instance_uid: Mapped[str] = mapped_column(unique=True)
    patient_pk: Mapped[int] = mapped_column(ForeignKey("patients.id"), index=True)
    # Whom the device named, where a person has said that it was somebody else (storage.corrections).
    sent_patient_pk: Mapped[int | None]
    # By which character set a person found its text to be written; None: as the bytes show.
    text_charset: Mapped[str | None]
    institution_code: Mapped[str] = mapped_column(ForeignKey("institutions.code"))
    accession_number: Mapped[str] = mapped_column(default="")
    study_id: Mapped[str] = mapped_column(default="")
    study_date: Mapped[date | None] = mapped_column(index=True)
    study_time: Mapped[str] = mapped_column(default="")  # DICOM TM as sent
    study_description: Mapped[str] = mapped_column(default="")
    referring_physician_name: Mapped[str] = mapped_column(default="")
    modality: Mapped[str] = mapped_column(
        default=""
    )  # of the first acquired series: routing and rights go by it
    body_part_examined: Mapped[str] = mapped_column(default="")
    arrival_state: Mapped[str] = mapped_column(default=ArrivalState.RECEIVING)
    first_instance_at: Mapped[datetime]
    last_instance_at: Mapped[datetime]
    settled_at: Mapped[datetime | None]
    settled_by: Mapped[str | None]  # what proved it complete, or not (worklist.completeness)
    expected_instances: Mapped[int | None]  # what its devices say belongs to it; None where none has said
    missing_instances: Mapped[int] = mapped_column(default=0, server_default="0")  # of these, not here
    number_of_series: Mapped[int] = mapped_column(default=0)
    number_of_instances: Mapped[int] = mapped_column(default=0)  # received ones; what we made is not counted
    version: Mapped[int] = mapped_column(default=1)  # grows with all that arrives after the first settling
    patient: Mapped[Patient] = relationship()
    series: Mapped[list[Series]] = relationship(back_populates="study", order_by="Series.series_number")


class Series(Base):
    __tablename__ = "series"
    # Some carts reuse a Series UID across patients; the study decides.
    __table_args__ = (UniqueConstraint("study_pk", "series_instance_uid"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    study_pk: Mapped[int] = mapped_column(ForeignKey("studies.id"))
    series_instance_uid: Mapped[str] = mapped_column(index=True)
    modality: Mapped[str]
    series_number: Mapped[int | None]
    series_description: Mapped[str] = mapped_column(default="")
    body_part_examined: Mapped[str] = mapped_column(default="")
    laterality: Mapped[str] = mapped_column(default="")
    station_ae: Mapped[str] = mapped_column(default="")
    number_of_instances: Mapped[int] = mapped_column(default=0)
    origin: Mapped[str] = mapped_column(default=Origin.RECEIVED)
    study: Mapped[Study] = relationship(back_populates="series")
    instances: Mapped[list[Instance]] = relationship(
        back_populates="series", order_by="Instance.instance_number"
    )


class Instance(Base):
    """One SOP instance: a row here means that its bytes are durable under `object_key`."""

    __tablename__ = "instances"
    __table_args__ = (
        Index(
            "ix_instances_without_header",
            "id",
            sqlite_where=text("header IS NULL"),
            postgresql_where=text("header IS NULL"),
        ),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    sop_instance_uid: Mapped[str] = mapped_column(unique=True)
    series_pk: Mapped[int] = mapped_column(ForeignKey("series.id"), index=True)
    sop_class_uid: Mapped[str]
    transfer_syntax_uid: Mapped[str]
    instance_number: Mapped[int | None]
    rows: Mapped[int | None]
    columns: Mapped[int | None]
    number_of_frames: Mapped[int] = mapped_column(default=1)
    object_key: Mapped[str] = mapped_column(unique=True)
    size: Mapped[int] = mapped_column(BigInteger)  # bytes of the whole Part 10 object
    dataset_offset: Mapped[int]  # where the dataset, as sent, begins in the object
    digest: Mapped[str]  # BLAKE3 of the dataset as sent: what makes two receptions identical
    seal: Mapped[str]  # of the whole object (storage.instances.seal): what `verify` re-hashes
    # DICOM JSON (PS3.18 F) without bulk; None until the worker has filled it in (storage.instance_headers)
    header: Mapped[dict[str, Any] | None] = mapped_column(LateJson)
    charset_evidence: Mapped[str] = mapped_column(default="")
    damage: Mapped[str | None]  # why the pixels cannot be trusted, e.g. shorter than Rows × Columns
    origin: Mapped[str] = mapped_column(default=Origin.RECEIVED)
    calling_ae: Mapped[str]
    source: Mapped[str] = mapped_column(default="")  # address of the sender
    received_at: Mapped[datetime]
    series: Mapped[Series] = relationship(back_populates="instances")


class QuarantinedInstance(Base):
    """The same SOP Instance UID with other content, or a study that claims another's UID: kept aside."""

    __tablename__ = "quarantined_instances"
    id: Mapped[int] = mapped_column(primary_key=True)
    sop_instance_uid: Mapped[str] = mapped_column(index=True)
    study_instance_uid: Mapped[str] = mapped_column(index=True)
    institution_code: Mapped[str]
    reason: Mapped[str]
    transfer_syntax_uid: Mapped[str]
    object_key: Mapped[str] = mapped_column(unique=True)
    size: Mapped[int] = mapped_column(BigInteger)
    dataset_offset: Mapped[int]
    digest: Mapped[str]
    seal: Mapped[str]
    header: Mapped[dict[str, Any]]
    calling_ae: Mapped[str]
    source: Mapped[str] = mapped_column(default="")
    received_at: Mapped[datetime]
    resolved_at: Mapped[datetime | None]
    resolution: Mapped[str | None]  # what a person decided (storage.conflicts); None while it waits
    resolved_by: Mapped[str | None]
    resolution_reason: Mapped[str | None]
    kept_as: Mapped[str | None]  # the SOP Instance UID of the instance that was made of it
    version: Mapped[int] = mapped_column(default=0, server_default="0")  # grows with every decision


def moment_of(study: Study, timezone: str) -> datetime:
    """When the study was made, by the device's clock; by ours where the device said nothing."""
    if study.study_date is None:
        return study.first_instance_at
    digits = study.study_time.split(".")[0].ljust(6, "0")[:6]
    try:
        clock = datetime.strptime(digits, "%H%M%S").time()
    except ValueError:
        clock = datetime.min.time()
    return datetime.combine(study.study_date, clock, tzinfo=ZoneInfo(timezone))
