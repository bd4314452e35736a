"""What we read from a dataset without touching pixels, and what makes it unacceptable."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from typing import Any, BinaryIO

from storage.attributes import (
    SPECIFIC_CHARACTER_SET,
    Encoding,
    encoding_of,
    number_of,
    text_of,
    to_dicom_json,
)
from storage.elements import IMPLICIT_LITTLE, MAX_ELEMENTS, Element, Walked, walk
from storage.rejections import InstanceRejected, Unacceptable
from storage.scanning import scan
from storage.uids import is_uid
from storage.windows import DEFLATED

__all__ = ["Header", "InstanceRejected", "Unacceptable", "read_header", "scan_header"]

KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"
NATIVE = {IMPLICIT_LITTLE, "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", DEFLATED}

IDENTIFIERS = {
    "study_instance_uid": (0x0020000D, "StudyInstanceUID"),
    "series_instance_uid": (0x0020000E, "SeriesInstanceUID"),
    "sop_instance_uid": (0x00080018, "SOPInstanceUID"),
    "sop_class_uid": (0x00080016, "SOPClassUID"),
}
TEXTS = {
    "patient_id": 0x00100020,
    "issuer_of_patient_id": 0x00100021,
    "patient_name": 0x00100010,
    "patient_sex": 0x00100040,
    "accession_number": 0x00080050,
    "study_id": 0x00200010,
    "study_time": 0x00080030,
    "study_description": 0x00081030,
    "referring_physician_name": 0x00080090,
    "modality": 0x00080060,
    "series_description": 0x0008103E,
    "body_part_examined": 0x00180015,
    "laterality": 0x00200060,
    "view_position": 0x00185101,
    "photometric_interpretation": 0x00280004,
}
NUMBERS = {
    "series_number": 0x00200011,
    "instance_number": 0x00200013,
    "rows": 0x00280010,
    "columns": 0x00280011,
    "bits_allocated": 0x00280100,
}
NUMBER_OF_FRAMES, SAMPLES_PER_PIXEL = 0x00280008, 0x00280002
PATIENT_BIRTH_DATE, STUDY_DATE, IMAGE_LATERALITY = 0x00100030, 0x00080020, 0x00200062

PIXEL_DATA_PROVIDER = 0x00287FE0
WANTED = frozenset(
    {
        *(tag for tag, _ in IDENTIFIERS.values()),
        *TEXTS.values(),
        *NUMBERS.values(),
        NUMBER_OF_FRAMES,
        SAMPLES_PER_PIXEL,
        PATIENT_BIRTH_DATE,
        STUDY_DATE,
        IMAGE_LATERALITY,
        PIXEL_DATA_PROVIDER,
        SPECIFIC_CHARACTER_SET,
    }
)

# Colour stored with subsampling needs fewer samples than Samples per Pixel says (PS3.3 C.7.6.3.1.2).
SUBSAMPLED = {"YBR_FULL_422": (2, 3), "YBR_PARTIAL_422": (2, 3), "YBR_PARTIAL_420": (1, 2)}


@dataclass(frozen=True)
class Header:
    """The header of one dataset: text decoded, names with all their groups, impossible dates None."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    patient_id: str
    issuer_of_patient_id: str
    patient_name: str  # "ZHANG^SAN=张^三"
    patient_sex: str
    patient_birth_date: date | None
    accession_number: str
    study_id: str
    study_date: date | None
    study_time: str  # TM as sent
    study_description: str
    referring_physician_name: str
    modality: str
    series_number: int | None
    series_description: str
    body_part_examined: str
    laterality: str
    view_position: str
    instance_number: int | None
    rows: int | None
    columns: int | None
    number_of_frames: int  # at least 1
    bits_allocated: int | None
    photometric_interpretation: str
    specific_character_set: tuple[str, ...]  # as declared
    charset_evidence: str  # what the text was read as
    is_charset_guess: bool  # the declaration said otherwise, or nothing
    damage: str | None  # why the pixels cannot be trusted
    is_abridged: bool  # `attributes` leaves nested elements out
    walked: Walked = field(repr=False, compare=False)
    scanned: bytes | memoryview | None = field(
        repr=False, compare=False
    )  # the dataset, where it was not walked
    encoding: Encoding = field(repr=False, compare=False)

    @property
    def is_damaged(self) -> bool:
        return self.damage is not None

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """DICOM JSON of the header: no pixels, no binary value above 1 kB."""
        if self.scanned is not None:
            return read_header(bytes(self.scanned), self.transfer_syntax_uid).attributes
        return to_dicom_json(self.walked.elements, self.encoding)

    @property
    def study_moment(self) -> datetime | None:
        """Study date and time in the device's own clock and zone; None where there is no date."""
        if self.study_date is None:
            return None
        digits = (self.study_time.replace(":", "").split(".")[0] + "000000")[:6]
        try:
            return datetime.combine(self.study_date, datetime.strptime(digits, "%H%M%S").time())
        except ValueError:
            return datetime.combine(self.study_date, datetime.min.time())


def read_header(source: bytes | bytearray | memoryview | BinaryIO, transfer_syntax_uid: str) -> Header:
    """Read a dataset as it stands in the PDV stream: no preamble, no meta information.

    Raises InstanceRejected for what is empty, truncated, malformed, nested beyond reason, larger than any
    header, or lacks one of the four UIDs that say what it is.
    """
    start = 0 if isinstance(source, bytes | bytearray | memoryview) else source.tell()
    walked = walk(source, transfer_syntax_uid)
    sop_class = walked.elements.get(IDENTIFIERS["sop_class_uid"][0])
    if walked.is_abridged and sop_class is not None and _plain(sop_class) == KEY_OBJECT_SELECTION:
        # A list of instances is read to its end, or it would seem fulfilled too early.
        if not isinstance(source, bytes | bytearray | memoryview):
            source.seek(start)
        walked = walk(source, transfer_syntax_uid, collected=MAX_ELEMENTS)
    return _header(walked, transfer_syntax_uid, None)


def scan_header(dataset: bytes | memoryview, transfer_syntax_uid: str) -> Header:
    """The same as `read_header`, sooner: the dataset is walked only when `attributes` is asked for."""
    walked = scan(dataset, transfer_syntax_uid, WANTED)
    if walked is None:
        return read_header(bytes(dataset), transfer_syntax_uid)
    return _header(walked, transfer_syntax_uid, dataset)


def _header(walked: Walked, transfer_syntax_uid: str, scanned: bytes | memoryview | None) -> Header:
    encoding = encoding_of(walked)
    get = walked.elements.get
    found: dict[str, Any] = {
        name: _identifier(get(tag), keyword) for name, (tag, keyword) in IDENTIFIERS.items()
    }
    found |= {name: text_of(get(tag), encoding) for name, tag in TEXTS.items()}
    found |= {name: number_of(get(tag), encoding) for name, tag in NUMBERS.items()}
    found["laterality"] = found["laterality"] or text_of(get(IMAGE_LATERALITY), encoding)
    found["number_of_frames"] = max(1, number_of(get(NUMBER_OF_FRAMES), encoding) or 1)
    return Header(
        transfer_syntax_uid=transfer_syntax_uid,
        patient_birth_date=_date(text_of(get(PATIENT_BIRTH_DATE), encoding)),
        study_date=_date(text_of(get(STUDY_DATE), encoding)),
        specific_character_set=encoding.declared,
        charset_evidence=encoding.used,
        is_charset_guess=encoding.is_guess,
        damage=_damage(walked, found, number_of(get(SAMPLES_PER_PIXEL), encoding) or 1),
        is_abridged=walked.is_abridged and scanned is None,
        walked=walked,
        scanned=scanned,
        encoding=encoding,
        **found,
    )


def _identifier(element: Element | None, keyword: str) -> str:
    text = _plain(element)
    if not text:
        raise InstanceRejected(f"{keyword} is missing", kind=Unacceptable.IDENTIFIERS)
    if not is_uid(text):
        raise InstanceRejected(f"{keyword} is not a UID", kind=Unacceptable.IDENTIFIERS)
    return text


def _plain(element: Element | None) -> str:
    return ((element.value or b"") if element is not None else b"").decode("latin_1").strip(" \0")


def _date(text: str) -> date | None:
    digits = text.replace(".", "").replace("-", "")
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:8])) if len(digits) == 8 else None
    except ValueError:
        return None


def _damage(walked: Walked, found: dict[str, Any], samples: int) -> str | None:
    frames = found["number_of_frames"]
    if walked.is_mislabelled:
        return "the dataset is not in the transfer syntax that was agreed"
    if walked.trailing:
        return f"after the pixel data: {walked.trailing}"
    if walked.is_end_missing:
        return "the end of the pixel data is missing"
    if walked.fragments is not None:
        return f"{walked.fragments} fragments for {frames} frames" if walked.fragments < frames else None
    rows, columns, bits = found["rows"], found["columns"], found["bits_allocated"]
    if not rows or not columns or not bits:
        return None
    if walked.pixel_length is None:
        return (
            "there are rows and columns but no pixel data"
            if PIXEL_DATA_PROVIDER not in walked.elements
            else None
        )
    part, whole = SUBSAMPLED.get(found["photometric_interpretation"], (1, 1)) if samples == 3 else (1, 1)
    expected = (rows * columns * samples * frames * bits * part // whole + 7) // 8
    if walked.pixel_length < expected:
        return f"pixel data of {walked.pixel_length} bytes where rows × columns × frames need {expected}"
    return None
