"""What a C-MOVE or C-GET asks for: the instances of its identifier that the asking device may have."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from dicom_node.contexts import PATIENT_ROOT
from dicom_node.exchange import Exchange
from dicom_node.fitting import Departing, StoredDataset
from dicom_node.statuses import WrongRequest
from storage.attributes import values_of
from storage.composing import Composed, compose_stored
from storage.corrections import overlays
from storage.imaging import Instance, Patient, Series, Study
from storage.overlays import Overlay
from storage.sound import SoundObjects

MOST_INSTANCES = 65_535  # the sub-operation counts are US (PS3.7 9.3.3)
QUERY_RETRIEVE_LEVEL = "00080052"

# Level → its unique key and those above it (PS3.4 C.6.1.1, C.6.2.1).
UNIQUE_KEYS = {
    "PATIENT": ("00100020",),
    "STUDY": ("0020000D",),
    "SERIES": ("0020000D", "0020000E"),
    "IMAGE": ("0020000D", "0020000E", "00080018"),
}
COLUMNS = {
    "00100020": Patient.patient_id,
    "0020000D": Study.study_instance_uid,
    "0020000E": Series.series_instance_uid,
    "00080018": Instance.sop_instance_uid,
}


class Wanted(NamedTuple):
    """One instance to send, and where its bytes are."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    transfer_syntax_uid: str
    object_key: str
    dataset_offset: int
    size: int  # of the whole object
    digest: str  # of the dataset
    series_pk: int
    overlay: Overlay | None = None

    def departing(self, objects: SoundObjects) -> Departing:
        """What a peer is given of it: as it was sent, or with what has been corrected since."""
        length = self.size - self.dataset_offset
        composed = self._composed(objects) if self.overlay is not None else None
        dataset = composed or StoredDataset(
            objects, self.object_key, self.dataset_offset, length, self.digest
        )
        return Departing(self.sop_class_uid, self.sop_instance_uid, self.transfer_syntax_uid, dataset)

    def _composed(self, objects: SoundObjects) -> Composed | None:
        assert self.overlay is not None
        objects.assure(self.object_key, self.dataset_offset, self.digest)
        return compose_stored(
            objects,
            self.object_key,
            size=self.size,
            offset=self.dataset_offset,
            transfer_syntax_uid=self.transfer_syntax_uid,
            overlay=self.overlay,
        )


def wanted_by(session: Session, exchange: Exchange, *visible: ColumnElement[bool]) -> list[Wanted]:
    """Every instance that the identifier names, in series order. Raises WrongRequest."""
    asked = exchange.dataset()
    level = str(next(iter(values_of(asked, QUERY_RETRIEVE_LEVEL)), "")).strip()
    if level not in UNIQUE_KEYS or (level == "PATIENT" and exchange.abstract_syntax not in PATIENT_ROOT):
        raise WrongRequest("the query/retrieve level is unknown")
    conditions = []
    for tag in UNIQUE_KEYS[level]:
        named = _named(asked, tag)
        if not named and tag == UNIQUE_KEYS[level][-1]:
            raise WrongRequest("the unique key of the level is empty")
        if named:
            conditions.append(COLUMNS[tag].in_(named))
    statement = (
        select(
            Instance.sop_class_uid,
            Instance.sop_instance_uid,
            Study.study_instance_uid,
            Instance.transfer_syntax_uid,
            Instance.object_key,
            Instance.dataset_offset,
            Instance.size,
            Instance.digest,
            Series.id,
        )
        .join(Series, Series.id == Instance.series_pk)
        .join(Study, Study.id == Series.study_pk)
        .join(Patient, Patient.id == Study.patient_pk)
        .where(*conditions, *visible)
        .order_by(Series.id, Instance.instance_number, Instance.id)
        .limit(MOST_INSTANCES)
    )
    wanted = [Wanted(*row) for row in session.execute(statement)]
    laid = overlays(session, {one.series_pk for one in wanted})
    return [one._replace(overlay=laid[one.series_pk]) if one.series_pk in laid else one for one in wanted]


def _named(asked: dict[str, Any], tag: str) -> list[str]:
    named = [str(value).strip() for value in values_of(asked, tag) if value]
    # A retrieve names its objects; wildcards are no names (PS3.4 C.4.2.1.4.1).
    if any("*" in value or "?" in value for value in named):
        raise WrongRequest("a retrieve takes no wildcards")
    return named
