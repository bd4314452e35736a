"""The manifest of a study: what a viewer needs of every header, what a series shares stated once. Pure."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reading_portal.decoding import CannotRender, image_format
from reading_portal.dicom_json import Attributes, text
from reading_portal.frames import EXPLICIT_LITTLE, NATIVE
from reading_portal.grayscale import Bulk
from reading_portal.palette import read_palette
from reading_portal.recoding import HTJ2K_RPCL, is_recodable
from reading_portal.retrieval import StoredInstance
from storage.attributes import values_of
from storage.imaging import Patient, Study
from worklist.orders import shown_name

# Who the patient is stands once at the top; private elements and histories of equipment draw nothing.
LEFT_OUT_GROUPS = ("0010", "0032", "0038", "0040", "0400", "2100", "FFFA", "FFFC")
KEPT = {"00101010", "00101030", "00400318", "00409096", "00400555"}


Found = list[tuple[StoredInstance, Attributes]]


def with_palette(header: Attributes, bulk: Bulk) -> Attributes:
    """The header with its palette as plain numbers, which is what Cornerstone takes; as it is without one."""
    if "00281101" not in header:
        return header
    try:
        palette = read_palette(header, bulk)
    except CannotRender:
        return header
    told = dict(header)
    for colour in range(3):
        descriptor = [len(palette.entries) & 0xFFFF, palette.first, palette.bits]
        told[f"0028110{colour + 1}"] = {"vr": "US", "Value": descriptor}
        told[f"0028120{colour + 1}"] = {"vr": "US", "Value": palette.entries[:, colour].tolist()}
        told.pop(f"0028122{colour + 1}", None)
    return told


def series_and_documents(found: Found) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Series of images and waveforms, as a viewer draws them; and what is read instead: documents."""
    series, documents = [], []
    for _, group in groupby(found, key=lambda pair: pair[0].series_instance_uid):
        members = list(group)
        shown = [pair for pair in members if _is_displayable(*pair)]
        if shown:
            series.append(_series(_sorted(shown)))
        documents += [_document(one, its) for one, its in members if not _is_displayable(one, its)]
    return series, documents


def study_facts(study: Study, patient: Patient, *, age: str) -> dict[str, Any]:
    """What stands once over the whole study. `age` is the Patient's Age of its first instance, as sent."""
    return {
        "study_instance_uid": study.study_instance_uid,
        "study_date": study.study_date.strftime("%Y%m%d") if study.study_date else "",
        "study_description": study.study_description,
        "accession_number": study.accession_number,
        "version": study.version,
        "patient": {
            "name": shown_name(patient.name),
            "sex": patient.sex,
            "age": age,
            "birth_date": patient.birth_date.strftime("%Y%m%d") if patient.birth_date else "",
            "patient_id": patient.patient_id,
        },
    }


def _series(members: Found) -> dict[str, Any]:
    one, header = members[0]
    kept = [_drawn(its) for _, its in members]
    common = {
        tag: element for tag, element in kept[0].items() if all(its.get(tag) == element for its in kept)
    }
    return {
        "series_instance_uid": one.series_instance_uid,
        "modality": one.modality,
        "series_number": one.series_number,
        "description": text(header, "0008103E"),
        "body_part": text(header, "00180015"),
        "laterality": text(header, "00200060") or text(header, "00200062"),
        "common": common,
        "instances": [
            {
                "sop_instance_uid": member.sop_instance_uid,
                "frames": member.number_of_frames,
                "transfer_syntax_uid": served_transfer_syntax(member, its),
                "original_transfer_syntax_uid": member.transfer_syntax_uid,
                "damage": member.damage,
                "varying": {tag: element for tag, element in drawn.items() if tag not in common},
            }
            for (member, its), drawn in zip(members, kept, strict=True)
        ],
    }


def served_transfer_syntax(one: StoredInstance, header: Attributes) -> str:
    """What our viewer gets frames in: as stored, or HTJ2K where they were native and survive it."""
    if one.transfer_syntax_uid not in NATIVE:
        return one.transfer_syntax_uid
    try:
        return HTJ2K_RPCL if is_recodable(image_format(header)) else EXPLICIT_LITTLE
    except CannotRender:
        return EXPLICIT_LITTLE


def _document(one: StoredInstance, header: Attributes) -> dict[str, Any]:
    return {
        "series_instance_uid": one.series_instance_uid,
        "sop_instance_uid": one.sop_instance_uid,
        "sop_class_uid": one.sop_class_uid,
        "modality": one.modality,
        "title": text(header, "00420010") or text(header, "0008103E"),
        "mime_type": text(header, "00420012"),
    }


def _is_displayable(one: StoredInstance, header: Attributes) -> bool:
    return bool(one.rows) or "54000100" in header


def _drawn(header: Attributes) -> Attributes:
    """The attributes that drawing, measuring and labelling take."""
    return {
        tag: element
        for tag, element in header.items()
        if tag in KEPT or (int(tag[:4], 16) % 2 == 0 and tag[:4] not in LEFT_OUT_GROUPS)
    }


def _sorted(members: Found) -> Found:
    """Along the normal of the first slice, as one scrolls; by number where there is no common direction."""
    orientation = _vector(members[0][1], "00200037", 6)
    if orientation is not None and len(members) > 1:
        normal = np.cross(orientation[:3], orientation[3:])
        places = [_place(header, normal, orientation) for _, header in members]
        if None not in places:
            order = sorted(
                range(len(members)), key=lambda index: (places[index], members[index][0].instance_number or 0)
            )
            return [members[index] for index in order]
    return sorted(
        members, key=lambda pair: (pair[0].instance_number is None, pair[0].instance_number or 0, pair[0].id)
    )


def _place(header: Attributes, normal: NDArray[np.float64], orientation: NDArray[np.float64]) -> float | None:
    position, own = _vector(header, "00200032", 3), _vector(header, "00200037", 6)
    # A localizer among axial slices has another direction: then there is no one order along a normal.
    if position is None or own is None or np.abs(own - orientation).max() > 0.05:
        return None
    return round(float(position @ normal), 3)


def _vector(header: Attributes, tag: str, length: int) -> Any:
    values = values_of(header, tag)
    try:
        vector = np.asarray([float(value) for value in values])
    except (TypeError, ValueError):
        return None
    return vector if len(vector) == length and np.isfinite(vector).all() else None
