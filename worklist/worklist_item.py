"""One scheduled step as the modality worklist says it: the attributes of PS3.4 table K.6-1."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from storage.imaging import Patient
from storage.institutions import ApplicationEntity
from storage.matching import name_groups
from storage.romanisation import romanised_name
from worklist.orders import ServiceRequest, person_name
from worklist.recognition_items import RecognitionItem

Dataset = dict[str, Any]  # DICOM JSON

PREGNANCY_UNKNOWN = 4
# The centre's own coding scheme (PS3.3 8.2): a recognition item's code.
CODING_SCHEME = "99READINGCENTER"
PRIORITIES = {"stat": "STAT", "asap": "HIGH", "urgent": "HIGH"}

# What may be asked for and what nobody has told us: it is answered as known to exist, and empty.
UNKNOWN_OF_THE_STEP = (
    ("00400004", "DA"),  # Scheduled Procedure Step End Date
    ("00400005", "TM"),
    ("00400006", "PN"),  # Scheduled Performing Physician's Name
    ("0040000B", "SQ"),
    ("00400012", "LO"),  # Pre-Medication
    ("00400400", "LT"),  # Comments on the Scheduled Procedure Step
    ("00321070", "LO"),  # Requested Contrast Agent
    ("00400440", "SQ"),  # Protocol Context
)
UNKNOWN = (
    ("00081080", "LO"),  # Admitting Diagnoses Description
    ("00081084", "SQ"),
    ("00081110", "SQ"),  # Referenced Study Sequence
    ("00081120", "SQ"),  # Referenced Patient Sequence
    ("00100101", "SQ"),  # Patient's Primary Language Code Sequence
    ("00101000", "LO"),  # Other Patient IDs
    ("00101001", "PN"),
    ("00101002", "SQ"),
    ("00101020", "DS"),  # Patient's Size
    ("00101030", "DS"),  # Patient's Weight
    ("00101040", "LO"),
    ("00102000", "LO"),  # Medical Alerts
    ("00102110", "LO"),  # Allergies
    ("00102154", "SH"),
    ("00102160", "SH"),
    ("00102180", "SH"),
    ("001021A0", "CS"),
    ("001021D0", "DA"),
    ("00104000", "LT"),  # Patient Comments
    ("00321031", "SQ"),
    ("00321033", "LO"),  # Requesting Service
    ("0032000A", "CS"),
    ("00324000", "LT"),
    ("00380008", "CS"),
    ("00380010", "LO"),  # Admission ID
    ("00380011", "LO"),
    ("00380014", "SQ"),
    ("00380050", "LO"),  # Special Needs
    ("00380100", "SQ"),
    ("00380300", "LO"),  # Current Patient Location
    ("00380400", "LO"),
    ("00380500", "LO"),  # Patient State
    ("00384000", "LT"),
    ("00401004", "LO"),  # Patient Transport Arrangements
    ("00401005", "LO"),
    ("00401008", "LO"),
    ("00401009", "SH"),
    ("0040100A", "SQ"),
    ("00401010", "PN"),
    ("00402008", "PN"),
    ("00402009", "SH"),
    ("00402010", "SH"),
    ("00403001", "LO"),  # Confidentiality Constraint on Patient Data Description
)


@dataclass(frozen=True)
class Scheduled:
    """An order with what the answer is made of; `starts` by the centre's own clock."""

    order: ServiceRequest
    patient: Patient
    starts: datetime
    placed: datetime
    requester: str
    institution: str
    item: RecognitionItem | None


def attributes_of(said: Scheduled, entity: ApplicationEntity) -> Dataset:
    """The answer to one device, of which it gets what it asked for."""
    order, patient = said.order, said.patient
    description = (said.item.name if said.item else _described(order))[:64]
    requester = person_name(said.requester) if said.requester else ""
    station = order.station_ae or entity.ae_title
    codes = _codes(said.item)
    step = _elements(
        *((tag, vr, None) for tag, vr in UNKNOWN_OF_THE_STEP),
        ("00080060", "CS", order.modality),
        ("00400001", "AE", station),
        ("00400002", "DA", f"{said.starts:%Y%m%d}"),
        ("00400003", "TM", f"{said.starts:%H%M%S}"),
        ("00400007", "LO", description),
        ("00400009", "SH", order.accession_number),
        ("00400010", "SH", station),
        ("00400011", "SH", said.institution[:16]),
        ("00400020", "CS", "ARRIVED"),
    ) | {"00400008": codes}
    return _elements(
        *((tag, vr, None) for tag, vr in UNKNOWN),
        ("00080050", "SH", order.accession_number),
        ("00080080", "LO", said.institution[:64]),
        ("00080090", "PN", requester),
        ("00100010", "PN", _name(patient.name)),
        ("00100020", "LO", patient.patient_id),
        ("00100021", "LO", patient.issuer),
        ("00100030", "DA", f"{patient.birth_date:%Y%m%d}" if patient.birth_date else ""),
        ("00100040", "CS", patient.sex),
        ("00101010", "AS", _age(patient.birth_date, said.starts.date())),
        ("001021C0", "US", PREGNANCY_UNKNOWN if patient.sex == "F" else None),
        ("001021B0", "LT", order.clinical_information[:10240]),
        ("0020000D", "UI", order.study_instance_uid),
        ("00200010", "SH", order.accession_number),
        ("00321032", "PN", requester),
        ("00321060", "LO", description),
        ("00401001", "SH", order.accession_number),
        ("00401002", "LO", order.question[:64]),
        ("00401003", "SH", PRIORITIES.get(order.priority, "ROUTINE")),
        ("00401400", "LT", order.question[:10240]),
        ("00402001", "LO", order.question[:64]),
        ("00402004", "DA", f"{said.placed:%Y%m%d}"),
        ("00402005", "TM", f"{said.placed:%H%M%S}"),
        ("00402016", "LO", order.accession_number),
        ("00402017", "LO", order.accession_number),
        ("00402400", "LT", order.clinical_information[:10240]),
    ) | {
        "00080051": _sequence(("00400031", "UT", order.issuer)),  # Issuer of Accession Number
        "00321064": codes,
        "00400100": {"vr": "SQ", "Value": [step]},
    }


def _codes(item: RecognitionItem | None) -> dict[str, Any]:
    """Requested Procedure Code and Scheduled Protocol Code: the item of the county's own catalogue."""
    if item is None:
        return {"vr": "SQ"}
    is_long = len(item.item) > 16  # PS3.3 8.1: Code Value holds 16 characters, Long Code Value any number
    return _sequence(
        ("00080119", "UC", item.item) if is_long else ("00080100", "SH", item.item),
        ("00080102", "SH", CODING_SCHEME),
        ("00080104", "LO", item.name[:64]),
    )


def _name(name: str) -> str:
    """With an alphabetic group: many devices show no other."""
    alphabetic, equals, rest = name.partition("=")
    return f"{romanised_name(name)}={rest}" if equals and not alphabetic.strip("^ ") else name


def _age(birth_date: date | None, on: date) -> str:
    """PS3.5 6.2: AS counts in years, below two of them in months, below one month in days."""
    if birth_date is None or birth_date > on:
        return ""
    months = (on.year - birth_date.year) * 12 + on.month - birth_date.month - (on.day < birth_date.day)
    if months >= 24:
        return f"{months // 12:03d}Y"
    return f"{months:03d}M" if months else f"{(on - birth_date).days:03d}D"


def _described(order: ServiceRequest) -> str:
    return " ".join(filter(None, (order.modality, order.body_part)))


def _sequence(*rows: tuple[str, str, Any]) -> dict[str, Any]:
    return {"vr": "SQ", "Value": [_elements(*rows)]}


def _elements(*rows: tuple[str, str, Any]) -> Dataset:
    found: Dataset = {}
    for tag, vr, value in rows:
        if value is None or value == "":
            found[tag] = {"vr": vr}
        else:
            found[tag] = {"vr": vr, "Value": [name_groups(value) if vr == "PN" else value]}
    return found
