"""What has rotted is a problem with a sentence: no picture, no frame, no file; what is whole is given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.uid import generate_uid
from structlog.testing import capture_logs

from storage.instances import find_instance
from storage.objects import IN_MEMORY
from tests.damage import flip_a_byte
from tests.pairs import Pair
from tests.reading_portal.dicomweb_objects import a_gradient, an_image
from tests.reading_portal.dicomweb_portal import Portal, file_of, open_portal
from tests.reading_portal.test_dicomweb import parts_of

MULTIPART = 'multipart/related; type="application/dicom"; transfer-syntax=*'
STUDY, SERIES = generate_uid(prefix=None), generate_uid(prefix=None)


@pytest.fixture
def portal(sqlite_pair: Pair, tmp_path: Path) -> Iterator[Portal]:
    with open_portal(sqlite_pair, tmp_path) as opened:
        yield opened


def _keep(portal: Portal, *, number: int, size: int = 64):
    image = an_image(
        a_gradient(size, size), study=STUDY, series=SERIES, PatientID="P001", InstanceNumber=number
    )
    portal.keep(file_of(image))
    return image


def _damage(portal: Portal, image) -> None:
    with portal.database.reading() as session:
        key = find_instance(session, image.SOPInstanceUID).object_key
    flip_a_byte(portal.objects, key, at=-30)


def _path(image) -> str:
    return f"/dicom-web/studies/{STUDY}/series/{SERIES}/instances/{image.SOPInstanceUID}"


def test_every_door_refuses_it_with_a_sentence_once_one_has_found_out(portal: Portal) -> None:
    good, bad = _keep(portal, number=1), _keep(portal, number=2)
    _damage(portal, bad)

    with portal.client("chenyu") as chen:
        first = chen.get(_path(bad), headers={"Accept": "application/dicom"})
        refused = [
            chen.get(_path(bad) + rest, headers={"Accept": accept})
            for rest, accept in (
                ("", "application/dicom"),
                ("", MULTIPART),
                ("/frames/1", 'multipart/related; type="application/octet-stream"'),
                ("/rendered", "image/jpeg"),
                ("/thumbnail", "image/jpeg"),
                ("/bulkdata/7FE00010", "*/*"),
            )
        ]
        fine = chen.get(_path(good) + "/frames/1", headers={"Accept": 'multipart/related; type="*/*"'})
        whole = chen.get(f"/dicom-web/studies/{STUDY}", headers={"Accept": MULTIPART})
        manifest = chen.get(f"/api/viewer/studies/{STUDY}/manifest")

    assert first.status_code == 410
    assert [answer.status_code for answer in refused] == [410] * len(refused)
    assert {answer.json()["type"] for answer in refused} == {"urn:reading-center:problem:object-damaged"}
    assert "send it again" in first.json()["detail"]
    assert first.headers["cache-control"] == "no-store"
    assert fine.status_code == 200
    assert whole.status_code == 206
    assert "1 instances are damaged" in whole.headers["warning"]
    assert [data for _, data in parts_of(whole)] == [file_of(good)]
    assert manifest.status_code == 200


def test_a_large_one_breaks_off_before_its_end(portal: Portal) -> None:
    image = _keep(portal, number=1, size=1600)
    assert len(file_of(image)) > IN_MEMORY
    _damage(portal, image)

    with portal.client("chenyu") as chen, capture_logs():  # or a traceback is painted with a megabyte in it
        with pytest.raises(Exception, match=r"peer closed|incomplete|disconnected"):
            chen.get(_path(image), headers={"Accept": "application/dicom"})
        again = chen.get(_path(image), headers={"Accept": "application/dicom"})

    assert again.status_code == 410
