"""Measurements leave as TID 1500: a validator finds no error, and another reader the same figures."""

from __future__ import annotations

import io
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ComprehensiveSRStorage, CTImageStorage
from sqlalchemy import select

from dicom_node.deliveries import handlers
from dicom_node.made_objects import Evidence, as_file
from dicom_node.measurement_report import Measured, measurement_report
from storage.database import utc_now
from storage.imaging import ArrivalState, Instance, Origin, Study
from storage.jobs import Job
from tests.builders import an_exam
from tests.cast import person, settle_the_county
from tests.dicom_node.conftest import settings_for
from tests.dicom_node.test_structured_report import STUDY
from tests.programs import program
from tests.signing import sign
from worklist.measurements import (
    Drawn,
    Figure,
    Kind,
    discard_measurement,
    export_measurements,
    keep_measurement,
)
from worklist.problems import Unacceptable

SLICE = Evidence(CTImageStorage, "2.25.314159265358970", "2.25.3141592653")
AREA = [
    Figure("area", 120.5, "mm²"),
    Figure("mean", 47.25, "HU"),
    Figure("deviation", 1 / 3, "HU"),
    Figure("min", -1024.0, "HU"),
    Figure("max", 1203.0, "HU"),
]
SQUARE = [[10.0, 20.0], [30.0, 20.0], [10.0, 50.0], [30.0, 50.0]]
DRAWINGS: dict[str, tuple[list[list[float]], list[Figure]]] = {
    "length": ([[10.5, 12.25], [50.5, 12.25]], [Figure("length", 1e3 / 3, "mm")]),
    "angle": ([[0, 0], [10, 0], [10, 10]], [Figure("angle", 90.0, "°")]),
    "cobb": ([[0, 0], [10, 1], [0, 9], [10, 5]], [Figure("angle", 27.5, "°")]),
    "bidirectional": (
        [[0, 0], [0, 9], [3, 4], [12, 4]],
        [Figure("long_axis", 9.0, "mm"), Figure("short_axis", 4.5, "mm")],
    ),
    "rectangle": (SQUARE, AREA),
    "ellipse": ([[20, 10], [20, 50], [15, 30], [25, 30]], AREA),
    "freehand": ([[1, 1], [9, 2], [5, 8]], AREA),
    "probe": ([[64, 70]], [Figure("value", -803.0, "HU")]),
}


def measured(kind: str, *, frames: int = 1, frame: int = 1, modality: str = "CT", **changes: Any) -> Measured:
    points, figures = DRAWINGS[kind]
    return Measured(
        uid=f"0b7f3c52-6a14-4d10-9a55-3f3c0d9e7a0{list(Kind).index(Kind(kind))}",
        revision=1,
        drawn=Drawn(
            **{
                "kind": kind,
                "sop_instance_uid": SLICE.sop_instance_uid,
                "frame": frame,
                "points": points,
                "calibration": "pixel_spacing",
                "figures": figures,
            }
            | changes
        ),
        evidence=SLICE,
        modality=modality,
        frames=frames,
    )


def report(*of: Measured) -> Dataset:
    return measurement_report(
        of,
        study=STUDY,
        author="chen",
        author_name="陈雨",
        language="zh-CN",
        institution_name="云岭县影像心电诊断中心",
        at=datetime(2026, 11, 28, 1, 2, 3, tzinfo=UTC),
        number=len(of),
    )


def items_of(dataset: Dataset, meaning: str) -> list[Dataset]:
    """Every content item of that concept, wherever it stands."""
    found = []
    for one in dataset.get("ContentSequence", []):
        if [name.CodeMeaning for name in one.get("ConceptNameCodeSequence", [])] == [meaning]:
            found.append(one)
        found += items_of(one, meaning)
    return found


def read_again(dataset: Dataset) -> Dataset:
    return dcmread(io.BytesIO(as_file(dataset)))


def value_of(figure: Dataset) -> tuple[float, str]:
    (number,) = figure.MeasuredValueSequence
    return float(number.NumericValue), str(number.MeasurementUnitsCodeSequence[0].CodeValue)


def drawing_of(figure: Dataset) -> Dataset:
    (drawing,) = (one for one in figure.ContentSequence if one.ValueType == "SCOORD")
    return drawing


@pytest.mark.parametrize("kinds", [*((kind,) for kind in DRAWINGS), tuple(DRAWINGS)], ids="-".join)
def test_an_independent_validator_finds_no_error(kinds: tuple[str, ...], tmp_path: Path) -> None:
    program("dciodvfy", of="dicom3tools")
    file = tmp_path / "measurements.dcm"
    file.write_bytes(as_file(report(*(measured(kind) for kind in kinds))))

    checked = subprocess.run(["dciodvfy", "-new", str(file)], capture_output=True, text=True)

    said = (checked.stdout + checked.stderr).splitlines()
    assert [line for line in said if line.startswith("Error")] == []


def test_another_reader_finds_length_unit_place_and_who_calibrated_it() -> None:
    dataset = read_again(report(measured("length")))

    (group,) = items_of(dataset, "Measurement Group")
    (length,) = items_of(group, "Length")
    drawing = drawing_of(length)
    assert dataset.SOPClassUID == ComprehensiveSRStorage
    assert dataset.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert value_of(length) == (pytest.approx(1e3 / 3, abs=1e-9), "mm")
    assert length.MeasuredValueSequence[0].FloatingPointValue == 1e3 / 3
    # Ours counts from the first pixel's centre, the standard from its corner.
    assert list(drawing.GraphicData) == [11.0, 12.75, 51.0, 12.75]
    assert (
        drawing.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == SLICE.sop_instance_uid
    )
    assert "ReferencedFrameNumber" not in drawing.ContentSequence[0].ReferencedSOPSequence[0]
    (method,) = items_of(group, "Measurement Method")
    assert method.ConceptCodeSequence[0].CodeMeaning == "Pixel Spacing of the image"
    assert str(items_of(dataset, "Person Observer Name")[0].PersonName) == "=陈雨"


def test_an_area_has_its_region_and_its_statistics_by_their_names() -> None:
    dataset = read_again(report(measured("rectangle")))

    (region,) = items_of(dataset, "Image Region")
    values = {
        items_of(figure, "Derivation")[0].ConceptCodeSequence[0].CodeMeaning: value_of(figure)
        for figure in items_of(dataset, "Attenuation Coefficient")
    }
    places = numpy.array(region.GraphicData).reshape(-1, 2)
    assert (region.GraphicType, places[0].tolist()) == ("POLYLINE", places[-1].tolist())
    twice = numpy.dot(places[:-1, 0], places[1:, 1]) - numpy.dot(places[:-1, 1], places[1:, 0])
    assert abs(twice) / 2 == 20 * 30  # a polyline that crosses itself encloses less
    assert value_of(items_of(dataset, "Area")[0]) == (120.5, "mm2")
    assert values == {
        "Mean": (47.25, "[hnsf'U]"),
        "Standard Deviation": (pytest.approx(1 / 3), "[hnsf'U]"),
        "Minimum": (-1024.0, "[hnsf'U]"),
        "Maximum": (1203.0, "[hnsf'U]"),
    }


def test_an_ellipse_names_its_longer_axis_first() -> None:
    points = [[15, 30], [25, 30], [20, 10], [20, 50]]

    (region,) = items_of(report(measured("ellipse", points=points)), "Image Region")

    assert region.GraphicType == "ELLIPSE"
    assert list(region.GraphicData) == [20.5, 10.5, 20.5, 50.5, 15.5, 30.5, 25.5, 30.5]


def test_each_of_two_diameters_points_at_its_own_line() -> None:
    dataset = report(measured("bidirectional"))

    (long,), (short,) = items_of(dataset, "Long axis"), items_of(dataset, "Short axis")

    # Nine rows of one millimetre are longer than nine columns of half a millimetre.
    assert list(drawing_of(long).GraphicData) == [0.5, 0.5, 0.5, 9.5]
    assert list(drawing_of(short).GraphicData) == [3.5, 4.5, 12.5, 4.5]


def test_without_a_calibration_the_unit_is_pixels() -> None:
    figures = [Figure("length", 40.0, "px")]

    dataset = report(measured("length", calibration="none", figures=figures))

    assert value_of(items_of(dataset, "Length")[0]) == (40.0, "{pixels}")
    method = items_of(dataset, "Measurement Method")[0]
    assert method.ConceptCodeSequence[0].CodeMeaning == "Not calibrated, in pixels"


def test_the_frame_of_a_loop_is_named() -> None:
    drawing = drawing_of(items_of(report(measured("length", frames=30, frame=7)), "Length")[0])

    assert drawing.ContentSequence[0].ReferencedSOPSequence[0].ReferencedFrameNumber == 7


def test_the_same_measurements_are_the_same_object_and_others_another() -> None:
    once, again = report(measured("length")), report(measured("length"))
    more = report(measured("length"), measured("angle"))

    assert as_file(once) == as_file(again)
    assert more.SOPInstanceUID != once.SOPInstanceUID
    assert more.SeriesInstanceUID == once.SeriesInstanceUID


UID = "0b7f3c52-6a14-4d10-9a55-3f3c0d9e7a01"


def measure(pair: Any, exam: Any) -> None:
    points, figures = DRAWINGS["length"]
    drawn = Drawn(
        kind="length",
        sop_instance_uid=exam.sop_instance_uids[0],
        frame=1,
        points=points,
        calibration="pixel_spacing",
        figures=figures,
    )
    with pair.database.transaction() as session:
        study = session.scalars(select(Study)).one()
        keep_measurement(session, study, UID, drawn, seen=0, by=person(session, "chen"), now=utc_now())


def work(pair: Any, folder: Path) -> None:
    with pair.database.reading() as session:
        job = session.scalar(select(Job).where(Job.kind == "archive-measurements").order_by(Job.id.desc()))
        session.expunge_all()
    handlers(pair.database, pair.objects, settings_for(pair, folder))["archive-measurements"](job)


def made(pair: Any) -> list[Dataset]:
    with pair.database.reading() as session:
        keys = session.scalars(select(Instance.object_key).where(Instance.origin == Origin.MADE)).all()
    return [dcmread(io.BytesIO(pair.objects.get(key))) for key in keys]


def test_an_export_is_an_object_of_the_study_and_does_not_reopen_it(pair: Any, tmp_path: Path) -> None:
    settle_the_county(pair.database)
    exam = an_exam(pair.database, pair.objects)
    measure(pair, exam)
    with pair.database.transaction() as session:
        study = session.scalars(select(Study)).one()
        for _ in range(2):
            assert export_measurements(session, study, by=person(session, "chen"), now=utc_now()) == 1

    work(pair, tmp_path)
    work(pair, tmp_path)

    (dataset,) = made(pair)
    assert dataset.StudyInstanceUID == exam.study_instance_uid
    assert value_of(items_of(dataset, "Length")[0])[1] == "mm"
    with pair.database.reading() as session:
        study = session.scalars(select(Study)).one()
        assert (study.arrival_state, study.number_of_instances) == (ArrivalState.SETTLED, 2)
        jobs = session.scalars(select(Job.id).where(Job.kind == "archive-measurements")).all()
        assert len(jobs) == 1


def test_a_signature_archives_what_its_author_measured(sqlite_pair: Any, tmp_path: Path) -> None:
    settle_the_county(sqlite_pair.database)
    exam = an_exam(sqlite_pair.database, sqlite_pair.objects)
    measure(sqlite_pair, exam)

    sign(sqlite_pair.database, sqlite_pair.objects, exam.task_id, "chen")
    work(sqlite_pair, tmp_path)

    (dataset,) = made(sqlite_pair)
    assert dataset.Modality == "SR"


def test_who_has_not_measured_or_has_deleted_everything_exports_nothing(sqlite_pair: Any) -> None:
    settle_the_county(sqlite_pair.database)
    measure(sqlite_pair, an_exam(sqlite_pair.database, sqlite_pair.objects))

    with sqlite_pair.database.transaction() as session:
        study = session.scalars(select(Study)).one()
        with pytest.raises(Unacceptable):
            export_measurements(session, study, by=person(session, "wu"), now=utc_now())
        discard_measurement(session, study, UID, seen=1, by=person(session, "chen"), now=utc_now())
        with pytest.raises(Unacceptable):
            export_measurements(session, study, by=person(session, "chen"), now=utc_now())
