"""What one reader measured in a study, as a Comprehensive SR: Measurement Report (PS3.16 TID 1500).

A pure translator. UIDs are derived from what was measured: exporting it twice is exporting it once.
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset
from pydicom.uid import ComprehensiveSRStorage

from dicom_node.made_objects import (
    Code,
    Evidence,
    code,
    container,
    evidence_of,
    item,
    language_of,
    made_instance,
    observer,
    reference_to,
    template,
)
from storage.uids import derived_uid
from worklist.measurements import Calibration, Drawn, Kind, Quantity

SERIES_NUMBER = 9904

MEASUREMENT_REPORT: Code = ("126000", "DCM", "Imaging Measurement Report")
OURS = "99READINGCENTER"

# CID 7469 and its kin: what is measured, and how it was taken from the pixels of an area.
CONCEPTS: dict[str, Code] = {
    Quantity.LENGTH: ("410668003", "SCT", "Length"),
    Quantity.LONG_AXIS: ("103339001", "SCT", "Long axis"),
    Quantity.SHORT_AXIS: ("103340004", "SCT", "Short axis"),
    Quantity.ANGLE: ("1483009", "SCT", "Angle"),
    Quantity.AREA: ("42798000", "SCT", "Area"),
    Quantity.ACROSS: ("across", OURS, "Distance along the rows"),
    Quantity.DOWN: ("down", OURS, "Distance along the columns"),
}
COBB_ANGLE: Code = ("285285000", "SCT", "Cobb angle")
DERIVATIONS: dict[str, Code] = {
    Quantity.MEAN: ("373098007", "SCT", "Mean"),
    Quantity.DEVIATION: ("386136009", "SCT", "Standard Deviation"),
    Quantity.MIN: ("255605001", "SCT", "Minimum"),
    Quantity.MAX: ("56851009", "SCT", "Maximum"),
}
PIXEL_VALUE: Code = ("pixel-value", OURS, "Pixel value")
ATTENUATION: Code = ("112031", "DCM", "Attenuation Coefficient")
UPTAKE: Code = ("126401", "DCM", "SUVbw")
MR_SIGNAL: Code = ("110852", "DCM", "MR signal intensity")
UNITS: dict[str, Code] = {
    "mm": ("mm", "UCUM", "mm"),
    "mm²": ("mm2", "UCUM", "mm2"),
    "px": ("{pixels}", "UCUM", "pixels"),
    "px²": ("{pixels}", "UCUM", "pixels"),
    "°": ("deg", "UCUM", "degrees"),
    "HU": ("[hnsf'U]", "UCUM", "Hounsfield unit"),
    "SUVbw": ("g/ml{SUVbw}", "UCUM", "Standardized Uptake Value body weight"),
    "ms": ("ms", "UCUM", "milliseconds"),
    "Hz": ("Hz", "UCUM", "Hertz"),
    "cm/s": ("cm/s", "UCUM", "centimeter per second"),
    "": ("1", "UCUM", "no units"),
}
# CID 9000 has no term for who says how long a pixel is.
METHODS: dict[str, Code] = {
    Calibration.PIXEL_SPACING: ("pixel-spacing", OURS, "Pixel Spacing of the image"),
    Calibration.GEOMETRY: ("geometry", OURS, "Pixel Spacing, calibrated by geometry"),
    Calibration.FIDUCIAL: ("fiducial", OURS, "Pixel Spacing, calibrated by a fiducial"),
    Calibration.DETECTOR: ("detector", OURS, "Spacing at the detector plane, not corrected"),
    Calibration.MAGNIFICATION: ("magnification", OURS, "Detector spacing over magnification factor"),
    Calibration.REGION: ("region", OURS, "Ultrasound region calibration"),
    Calibration.OUTSIDE_REGION: ("outside-region", OURS, "Not calibrated, outside ultrasound regions"),
    Calibration.NONE: ("none", OURS, "Not calibrated, in pixels"),
}
AREAS = (Kind.RECTANGLE, Kind.ELLIPSE, Kind.FREEHAND)
KIND_NAMES = {
    Kind.LENGTH: "Length",
    Kind.ANGLE: "Angle",
    Kind.COBB: "Cobb angle",
    Kind.BIDIRECTIONAL: "Bidirectional",
    Kind.RECTANGLE: "Rectangle",
    Kind.ELLIPSE: "Ellipse",
    Kind.FREEHAND: "Freehand",
    Kind.PROBE: "Point",
}

Place = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One measurement with the object that it lies in; `uid` is a UUID, `revision` grows with each change."""

    uid: str
    revision: int
    drawn: Drawn
    evidence: Evidence
    modality: str
    frames: int


def measurement_report(
    measured: Sequence[Measured],
    *,
    study: Mapping[str, str],
    author: str,
    author_name: str,
    language: str,
    institution_name: str,
    at: datetime,
    number: int,
) -> Dataset:
    """TID 1500 over `measured`, at least one; `at` is when the last was changed, in the centre's zone."""
    study_uid = study["StudyInstanceUID"]
    state = [f"{one.uid}/{one.revision}" for one in measured]
    dataset = made_instance(
        ComprehensiveSRStorage,
        study,
        modality="SR",
        sop_instance_uid=derived_uid("measurements-instance", study_uid, author, *state),
        series_instance_uid=derived_uid("measurements-series", study_uid, author),
        series_number=SERIES_NUMBER,
        instance_number=number,
        at=at,
        institution_name=institution_name,
    )
    dataset.SeriesDescription = "测量" if language.startswith("zh") else "Measurements"
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.PerformedProcedureCodeSequence = []
    dataset.CompletionFlag, dataset.VerificationFlag = "COMPLETE", "UNVERIFIED"
    images = list(dict.fromkeys(one.evidence for one in measured))
    dataset.CurrentRequestedProcedureEvidenceSequence = [evidence_of(study_uid, images)]
    dataset.ValueType, dataset.ContinuityOfContent = "CONTAINER", "SEPARATE"
    dataset.ConceptNameCodeSequence = [code(MEASUREMENT_REPORT)]
    dataset.ContentTemplateSequence = [template("1500")]
    procedure: Code = ("363679005", "SCT", "Imaging procedure")
    dataset.ContentSequence = [
        language_of(language),
        *observer(author_name),
        item(
            "HAS CONCEPT MOD",
            "CODE",
            ("121058", "DCM", "Procedure reported"),
            ConceptCodeSequence=[code(procedure)],
        ),
        _image_library(images),
        container(
            ("126010", "DCM", "Imaging Measurements"),
            [_group(one, number) for number, one in enumerate(measured, start=1)],
        ),
    ]
    return dataset


def _image_library(images: Iterable[Evidence]) -> Dataset:
    """TID 1600: the images that were measured in."""
    entries = [item("CONTAINS", "IMAGE", None, ReferencedSOPSequence=[reference_to(one)]) for one in images]
    library: Code = ("111028", "DCM", "Image Library")
    return container(library, [container(("126200", "DCM", "Image Library Group"), entries)])


def _group(one: Measured, number: int) -> Dataset:
    """TID 1410 for an area, TID 1501 for the others: what was drawn, its figures, who calibrated them."""
    drawn = one.drawn
    is_area = drawn.kind in AREAS
    items = [
        item(
            "HAS OBS CONTEXT",
            "TEXT",
            ("112039", "DCM", "Tracking Identifier"),
            TextValue=f"{KIND_NAMES[Kind(drawn.kind)]} {number}",
        ),
        item(
            "HAS OBS CONTEXT",
            "UIDREF",
            ("112040", "DCM", "Tracking Unique Identifier"),
            UID=f"2.25.{uuid.UUID(one.uid).int}",
        ),
        item(
            "HAS CONCEPT MOD",
            "CODE",
            ("370129005", "SCT", "Measurement Method"),
            ConceptCodeSequence=[code(METHODS[drawn.calibration])],
        ),
    ]
    if is_area:
        items.append(_drawing("CONTAINS", one, *_graphic(drawn), concept=("111030", "DCM", "Image Region")))
    for index, figure in enumerate(drawn.figures):
        figures = _figure(one, figure.quantity, figure.value, figure.unit)
        if not is_area:
            figures.ContentSequence = [
                *figures.get("ContentSequence", []),
                _drawing("INFERRED FROM", one, *_graphic(drawn, index)),
            ]
        items.append(figures)
    group = container(("125007", "DCM", "Measurement Group"), items)
    group.ContentTemplateSequence = [template("1410" if is_area else "1501")]
    return group


def _figure(one: Measured, quantity: str, value: float, unit: str) -> Dataset:
    """TID 300 and 1419: a number with its unit."""
    concept = CONCEPTS.get(quantity) or _pixel_concept(one.modality, unit)
    if one.drawn.kind == Kind.COBB:
        concept = COBB_ANGLE
    number = Dataset()
    number.NumericValue = _decimal(value)
    number.FloatingPointValue = value
    number.MeasurementUnitsCodeSequence = [code(_unit(unit))]
    figure = item("CONTAINS", "NUM", concept, MeasuredValueSequence=[number])
    if quantity in DERIVATIONS:
        figure.ContentSequence = [
            item(
                "HAS CONCEPT MOD",
                "CODE",
                ("121401", "DCM", "Derivation"),
                ConceptCodeSequence=[code(DERIVATIONS[quantity])],
            )
        ]
    return figure


def _pixel_concept(modality: str, unit: str) -> Code:
    named = {"HU": ATTENUATION, "SUVbw": UPTAKE}
    if unit in named:
        return named[unit]
    return MR_SIGNAL if modality == "MR" else PIXEL_VALUE


def _unit(unit: str) -> Code:
    """What is no unit of UCUM stands in braces, as an annotation."""
    plain = re.sub(r"[^!-z|~]", "", unit)
    return UNITS.get(unit) or (f"{{{plain}}}"[:16], "UCUM", plain or "no units")


def _decimal(value: float) -> str:
    """A DS of at most 16 characters, as exact as fits."""
    for digits in range(15, 0, -1):
        text = f"{value:.{digits}g}"
        if len(text) <= 16:
            return text
    return f"{value:.0e}"


def _graphic(drawn: Drawn, figure: int = 0) -> tuple[str, list[Place]]:
    """The graphic type, and its points in the frame's pixels."""
    points: list[Place] = [(float(column), float(row)) for column, row in drawn.points]
    if drawn.kind == Kind.PROBE:
        return "POINT", points
    if drawn.kind == Kind.RECTANGLE:
        # Drawn as corner, its neighbour in the row, its neighbour in the column, opposite corner.
        return "POLYLINE", [points[0], points[1], points[3], points[2], points[0]]
    if drawn.kind == Kind.ELLIPSE:
        # C.18.6.1.2: the ends of the major axis first.
        axes = sorted((points[:2], points[2:]), key=lambda ends: math.dist(*ends), reverse=True)
        return "ELLIPSE", [*axes[0], *axes[1]]
    if drawn.kind == Kind.FREEHAND:
        return "POLYLINE", [*points, points[0]]
    if drawn.kind == Kind.BIDIRECTIONAL:
        is_long = drawn.figures[figure].quantity == Quantity.LONG_AXIS
        return "POLYLINE", points[:2] if is_long else points[2:]
    return "POLYLINE", points


def _drawing(
    relationship: str, one: Measured, graphic: str, points: list[Place], *, concept: Code | None = None
) -> Dataset:
    """TID 320: coordinates in an image. Ours are 0 at the first pixel's centre, SCOORD's at its upper left
    corner (C.18.6.1.1)."""
    reference = reference_to(one.evidence)
    if one.frames > 1:
        reference.ReferencedFrameNumber = one.drawn.frame
    image = item("SELECTED FROM", "IMAGE", None, ReferencedSOPSequence=[reference])
    return item(
        relationship,
        "SCOORD",
        concept,
        GraphicType=graphic,
        GraphicData=[number + 0.5 for point in points for number in point],
        ContentSequence=[image],
    )
