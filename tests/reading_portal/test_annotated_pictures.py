"""What the author measured on a key image is printed with it, where it was measured."""

from __future__ import annotations

import io
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from PIL import Image
from sqlalchemy import select

from reading_portal.annotated_picture import annotated_picture
from reading_portal.documents import KeyImage, compose_report
from reading_portal.key_images import draw_key_images
from reading_portal.rendering import Picture
from storage.database import utc_now
from storage.imaging import Instance, Study
from tests.builders import person
from tests.programs import program
from tests.reading_portal.conftest import Portal
from tests.written_reports import CHEN, ct_report
from worklist.measurements import Drawn, Figure, Kind, Measurement, keep_measurement
from worklist.report_content import KeyImageReference

POINTS = {
    Kind.LENGTH: [[10, 10], [50, 10]],
    Kind.ANGLE: [[10, 10], [30, 30], [50, 10]],
    Kind.COBB: [[10, 10], [50, 12], [10, 40], [50, 30]],
    Kind.BIDIRECTIONAL: [[10, 10], [50, 10], [30, 5], [30, 20]],
    Kind.RECTANGLE: [[10, 10], [50, 10], [10, 40], [50, 40]],
    Kind.ELLIPSE: [[10, 25], [50, 25], [30, 10], [30, 40]],
    Kind.FREEHAND: [[10, 10], [50, 10], [30, 40]],
    Kind.PROBE: [[30, 30]],
}


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_of_measurement_is_printed(kind: Kind, tmp_path: Path) -> None:
    drawn = Measurement(kind=kind, points=POINTS[kind], figures=[{"value": 23.44, "unit": "mm"}])
    black = io.BytesIO()
    Image.new("L", (64, 64)).save(black, "PNG")
    picture = Picture(black.getvalue(), "image/png", 64, 64)

    svg = annotated_picture(picture, columns=64, rows=64, drawn=[drawn])

    assert "23.44 mm" in svg.decode()
    pdf = compose_report(
        ct_report(key_images=(KeyImageReference(sop_instance_uid="2.25.1"),)),
        key_images=[KeyImage(data=svg, media_type="image/svg+xml")],
        verify_url="https://portal.example/verify/x",
    )
    (tmp_path / "report.pdf").write_bytes(pdf)
    subprocess.run(
        [program("pdftoppm", of="poppler-utils"), "-r", "100", "-png", "report.pdf", "page"],
        cwd=tmp_path,
        check=True,
    )
    pages = [Image.open(file).convert("RGB") for file in sorted(tmp_path.glob("page*.png"))]
    yellow = sum(
        1 for page in pages for r, g, b in page.getdata() if abs(r - 255) < 9 and abs(g - 210) < 9 and b < 90
    )
    assert yellow > 30


def test_a_figure_near_the_edge_is_printed_whole() -> None:
    drawn = Measurement(
        kind="length", points=[[900, 0], [1020, 0]], figures=[{"value": 1234.4, "unit": "mm"}]
    )
    picture = Picture(b"", "image/png", 1024, 1024)

    svg = annotated_picture(picture, columns=1024, rows=1024, drawn=[drawn]).decode()

    place = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" font-size="([\d.]+)"', svg)[0]
    x, y, size = (float(value) for value in place)
    assert x + 0.6 * size * len("1234 mm") <= 1024 and y >= size


def test_the_author_s_measurements_alone_stand_on_the_key_image(quick_portal: Portal) -> None:
    exam = quick_portal.an_exam()
    now = utc_now()
    with quick_portal.database.transaction() as session:
        study = session.scalars(
            select(Study).where(Study.study_instance_uid == exam.study_instance_uid)
        ).one()
        uid = session.scalars(select(Instance.sop_instance_uid)).first()
        assert uid is not None
        for who, value in (("chen", 23.4), ("wu", 99.9)):
            drawn = Drawn(
                kind="length", sop_instance_uid=uid, frame=1, points=[[10, 10], [50, 10]],
                calibration="pixel_spacing", figures=[Figure("length", value, "mm")],
            )  # fmt: skip
            keep_measurement(session, study, str(uuid4()), drawn, seen=0, by=person(session, who), now=now)
    report = ct_report(
        study_instance_uid=exam.study_instance_uid,
        author=replace(CHEN, username="chen"),
        key_images=(KeyImageReference(sop_instance_uid=uid),),
    )

    with quick_portal.database.reading() as session:
        (image,) = draw_key_images(session, quick_portal.objects, report, by=person(session, "chen"))

    assert image.media_type == "image/svg+xml"
    assert b"23.4 mm" in image.data and b"99.9" not in image.data
