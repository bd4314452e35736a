"""DICOMweb over real sockets: what every viewer asks, and who is told nothing."""

import io
import json
import warnings
from collections.abc import Iterator

import imagecodecs
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from storage.audit import history
from tests.corpora import corpus
from tests.pairs import NAMES, Pairs
from tests.reading_portal.dicomweb_objects import (
    a_cine,
    a_ct_series,
    a_gradient,
    an_image,
    in_every_native_encoding,
)
from tests.reading_portal.dicomweb_portal import Portal, file_of, open_portal

# The study's UID stands in names of tests, which every process of a run must find the same.
STUDY, SERIES = "2.25.85046536535567612481608634442094295844", generate_uid(prefix=None)
NATIVE_SERIES, CINE_SERIES = generate_uid(prefix=None), generate_uid(prefix=None)
CT_SLICES = a_ct_series(STUDY, SERIES)
NATIVE = in_every_native_encoding(STUDY, NATIVE_SERIES)
FRAMES = [bytes(imagecodecs.jpegls_encode(a_gradient(seed=seed))) for seed in range(7)]
CINES = {
    offsets: a_cine(STUDY, CINE_SERIES, FRAMES, (64, 48), offsets)
    for offsets in ("basic", "extended", "none")
}
HTJ2K = 'multipart/related; type="application/octet-stream"; transfer-syntax=1.2.840.10008.1.2.4.202'


@pytest.fixture(scope="module", params=NAMES)
def portal(
    request: pytest.FixtureRequest, pairs: Pairs, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Portal]:
    folder = tmp_path_factory.mktemp("dicomweb")
    with pairs.open(request.param, folder) as pair, open_portal(pair, folder) as portal:
        for dataset in [*CT_SLICES, *NATIVE, *CINES.values()]:
            portal.keep(file_of(dataset))
        yield portal


def path_of(dataset: pydicom.Dataset) -> str:
    return (
        f"/dicom-web/studies/{dataset.StudyInstanceUID}/series/{dataset.SeriesInstanceUID}"
        f"/instances/{dataset.SOPInstanceUID}"
    )


def parts_of(response: object) -> list[tuple[dict[str, str], bytes]]:
    """The parts of a multipart answer, split as a client would."""
    boundary = response.headers["content-type"].split("boundary=")[1].split(";")[0].encode()  # type: ignore[attr-defined]
    body: bytes = response.content  # type: ignore[attr-defined]
    found = []
    for piece in body.split(b"\r\n--" + boundary)[1:-1]:
        head, _, data = piece.partition(b"\r\n\r\n")
        lines = [line.split(": ", 1) for line in head.decode().strip().split("\r\n")]
        found.append(({name.lower(): value for name, value in lines}, data))
    return found


def test_nobody_is_told_anything_without_a_token(portal: Portal) -> None:
    with portal.client("chenyu") as anybody:
        anybody.headers.pop("Authorization")
        for path in ("/studies", f"/studies/{STUDY}", f"/studies/{STUDY}/metadata"):
            assert anybody.get(f"/dicom-web{path}").status_code == 401


def test_a_clinician_of_baishui_sees_nothing_of_qingshi(portal: Portal) -> None:
    path = path_of(CT_SLICES[0])
    with portal.client("hejing") as he:
        assert he.get("/dicom-web/studies").json() == []
        for where in (
            path,
            f"{path}/metadata",
            f"{path}/frames/1",
            f"{path}/rendered",
            f"{path}/thumbnail",
            f"{path}/bulkdata/7FE00010",
            f"/dicom-web/studies/{STUDY}",
            f"/api/viewer/studies/{STUDY}/manifest",
            f"/api/viewer/studies/{STUDY}/ecg",
        ):
            assert he.get(where).status_code == 404, where


def test_the_study_list_of_an_unmodified_viewer_is_answered(portal: Portal) -> None:
    query = (
        "limit=101&offset=0&fuzzymatching=false&includefield=00081030%2C00080060"
        "&StudyDate=20261101-20261130&PatientName=*zhang*"
    )
    with portal.client("chenyu") as chen:
        answer = chen.get(f"/dicom-web/studies?{query}", headers={"Accept": "application/dicom+json"})

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/dicom+json")
    (study,) = answer.json()
    assert study["0020000D"]["Value"] == [STUDY]
    assert study["00100010"]["Value"] == [{"Alphabetic": "ZHANG^SAN", "Ideographic": "张^三"}]
    assert study["00081030"]["Value"] == ["胸部CT平扫"]
    assert study["00080061"]["Value"] == ["CT", "US"]
    assert study["00201208"]["Value"] == [len(CT_SLICES) + len(NATIVE) + len(CINES)]
    assert study["00081190"]["Value"] == [f"{portal.dicomweb}/studies/{STUDY}"]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("StudyDate=20261122-", 0),
        ("StudyDate=-20261121", 1),
        ("PatientName=zhang%20san&fuzzymatching=true", 1),
        ("PatientName=zhangsan&fuzzymatching=true", 1),
        ("PatientName=li&fuzzymatching=true", 0),
        ("00100020=P001", 1),
        ("00100020=P00?", 1),
        ("AccessionNumber=Q0001", 1),
        ("ModalitiesInStudy=MR", 0),
        ("ModalitiesInStudy=MR,CT", 1),
        (f"StudyInstanceUID=1.2.3,{STUDY}", 1),
        (f"StudyInstanceUID={STUDY}%5C1.2.3", 1),
        # PS3.18 8.3.4.5: two quotation marks stand for no value, where that is asked for.
        ("PatientName=%22%22&emptyvaluematching=true", 0),
        ("PatientName=%22%22&emptyvaluematching=false", 1),
        ("PatientName=%22%22", 1),
        ("StudyID=%22%22&emptyvaluematching=true", 1),
        ("AccessionNumber=%22%22&emptyvaluematching=true&multiplevaluematching=true", 0),
        ("AccessionNumber=X9%5CQ0001&multiplevaluematching=true", 1),
        ("PatientName=LI*%5CZHANG*&multiplevaluematching=true", 1),
        ("AccessionNumber=X9%5CX8&multiplevaluematching=true", 0),
        ("limit=0", 0),
        ("offset=1", 0),
        ("_=12345", 1),
    ],
)
def test_a_search_finds_what_matches(portal: Portal, query: str, count: int) -> None:
    with portal.client("chenyu") as chen:
        answer = chen.get(f"/dicom-web/studies?{query}")

    assert (answer.status_code, len(answer.json())) == (200, count)


def test_an_answer_that_was_cut_says_so(portal: Portal) -> None:
    with portal.client("chenyu") as chen:
        cut = chen.get(f"/dicom-web/studies/{STUDY}/instances?limit=3")
        rest = chen.get(f"/dicom-web/studies/{STUDY}/instances?limit=50&offset=3")

    assert len(cut.json()) == 3
    assert cut.headers["warning"].startswith("299 ")
    assert len(rest.json()) == len(CT_SLICES) + len(NATIVE) + len(CINES) - 3
    assert "warning" not in rest.headers


@pytest.mark.parametrize(
    "query", ["limit=many", "offset=-1", "StudyDate=yesterday", "limit=²", "emptyvaluematching=2"]
)
def test_a_search_that_makes_no_sense_is_refused(portal: Portal, query: str) -> None:
    with portal.client("chenyu") as chen:
        answer = chen.get(f"/dicom-web/studies?{query}")

    assert answer.status_code == 400
    assert answer.json()["detail"]


def test_fields_that_no_column_holds_are_included_on_demand(portal: Portal) -> None:
    with portal.client("chenyu") as chen:
        plain = chen.get(f"/dicom-web/studies/{STUDY}/series/{SERIES}/instances").json()
        more = chen.get(f"/dicom-web/studies/{STUDY}/series/{SERIES}/instances?includefield=00281050").json()
        everything = chen.get(f"/dicom-web/studies/{STUDY}/series/{SERIES}/instances?includefield=all").json()
        series = chen.get(f"/dicom-web/studies/{STUDY}/series?includefield=WindowWidth").json()

    assert "00281050" not in plain[0]
    assert more[0]["00281050"]["Value"] == [40]
    assert everything[0]["00200032"]["Value"] == [0, 0, 95]
    assert {row["00281051"]["Value"][0] for row in series} == {400}


def test_a_study_is_retrieved_as_it_was_sent(portal: Portal) -> None:
    with portal.client("chenyu") as chen:
        answer = chen.get(
            f"/dicom-web/studies/{STUDY}/series/{SERIES}",
            headers={"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'},
        )

    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) == len(answer.content)
    parts = parts_of(answer)
    assert [data for _, data in parts] == [file_of(dataset) for dataset in CT_SLICES]
    assert parts[0][0]["content-type"] == f"application/dicom; transfer-syntax={ExplicitVRLittleEndian}"


def test_what_hides_in_a_preamble_is_not_handed_on(portal: Portal) -> None:
    dataset = an_image(a_gradient(), study=STUDY, series=generate_uid(prefix=None), PatientID="P001")
    file = b"MZ" + b"\x90" * 126 + file_of(dataset)[128:]
    portal.keep(file)

    with portal.client("chenyu") as chen:
        answer = chen.get(path_of(dataset), headers={"Accept": "application/dicom"})

    assert answer.content == bytes(128) + file[128:]
    assert answer.headers["content-type"] == "application/dicom"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"].startswith("attachment")


def test_metadata_is_the_header_with_addresses_for_what_is_long(portal: Portal) -> None:
    with portal.client("chenyu") as chen:
        answer = chen.get(f"/dicom-web/studies/{STUDY}/series/{SERIES}/metadata")
        headers = answer.json()
        pixels = chen.get(headers[0]["7FE00010"]["BulkDataURI"])
        again = chen.get(
            f"/dicom-web/studies/{STUDY}/series/{SERIES}/metadata",
            headers={"If-None-Match": answer.headers["etag"]},
        )

    assert answer.headers["content-encoding"] == "gzip"
    assert [one["00080018"]["Value"][0] for one in headers] == [one.SOPInstanceUID for one in CT_SLICES]
    assert (
        pydicom.Dataset.from_json(json.dumps(headers[0] | {"7FE00010": {"vr": "OW"}})).PatientName
        == "ZHANG^SAN=张^三"
    )
    assert pixels.content == CT_SLICES[0].PixelData
    assert again.status_code == 304


@pytest.mark.parametrize("dataset", NATIVE, ids=["implicit", "explicit", "big-endian"])
def test_native_frames_leave_as_little_endian_with_the_same_values(
    portal: Portal, dataset: pydicom.Dataset
) -> None:
    with portal.client("chenyu") as chen:
        answer = chen.get(f"{path_of(dataset)}/frames/1")
        bulk = chen.get(f"{path_of(dataset)}/bulkdata/7FE00010")
        range_ = chen.get(f"{path_of(dataset)}/bulkdata/7FE00010", headers={"Range": "bytes=101-206"})

    ((headers, data),) = parts_of(answer)
    assert (np.frombuffer(data, "<u2").reshape(64, 48) == a_gradient()).all()
    assert headers["content-type"] == "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
    assert bulk.content == data
    assert (range_.status_code, range_.content) == (206, data[101:207])
    assert range_.headers["content-range"] == f"bytes 101-206/{len(data)}"


@pytest.mark.parametrize("offsets", ["basic", "extended", "none"])
def test_encapsulated_frames_are_found_with_any_offset_table(portal: Portal, offsets: str) -> None:
    with portal.client("chenyu") as chen:
        one = chen.get(f"{path_of(CINES[offsets])}/frames/5")
        many = chen.get(f"{path_of(CINES[offsets])}/frames/7,1,2,3,4,5,6")
        none = chen.get(f"{path_of(CINES[offsets])}/frames/8")

    ((headers, data),) = parts_of(one)
    assert (imagecodecs.jpegls_decode(data) == a_gradient(seed=4)).all()
    assert headers["content-type"].endswith("transfer-syntax=1.2.840.10008.1.2.4.80")
    assert [data.rstrip(b"\0") for _, data in parts_of(many)] == [
        FRAMES[n].rstrip(b"\0") for n in (6, 0, 1, 2, 3, 4, 5)
    ]
    assert none.status_code == 404


@pytest.mark.parametrize(
    ("accept", "kind", "decode"),
    [
        (HTJ2K, 'multipart/related; type="application/octet-stream"', imagecodecs.htj2k_decode),
        ("image/jphc", "image/jphc; transfer-syntax=1.2.840.10008.1.2.4.201", imagecodecs.htj2k_decode),
        ("image/jls", "image/jls; transfer-syntax=1.2.840.10008.1.2.4.80", imagecodecs.jpegls_decode),
        (
            "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.4.202, */*;q=0.1",
            "application/octet-stream",
            imagecodecs.htj2k_decode,
        ),
    ],
)
def test_native_frames_are_recoded_without_loss_when_asked(
    portal: Portal, accept: str, kind: str, decode: object
) -> None:
    with portal.client("chenyu") as chen:
        answer = chen.get(f"{path_of(NATIVE[2])}/frames/1", headers={"Accept": accept})

    assert answer.headers["content-type"].startswith(kind)
    data = parts_of(answer)[0][1] if "multipart" in kind else answer.content
    assert (decode(data) == a_gradient()).all()  # type: ignore[operator]
    assert int(answer.headers["content-length"]) == len(answer.content)


def test_compressed_frames_are_given_uncompressed_to_whoever_takes_nothing_else(portal: Portal) -> None:
    with portal.client("chenyu") as chen:
        answer = chen.get(
            f"{path_of(CINES['none'])}/frames/3", headers={"Accept": "application/octet-stream"}
        )
        refused = chen.get(f"{path_of(CINES['none'])}/frames/3", headers={"Accept": "image/jp2"})

    assert (np.frombuffer(answer.content, "<u2").reshape(64, 48) == a_gradient(seed=2)).all()
    assert refused.status_code == 406


def test_a_browser_keeps_frames_for_ever_and_others_never(portal: Portal) -> None:
    path = f"{path_of(CT_SLICES[0])}/frames/1"
    with portal.client("chenyu") as chen:
        first = chen.get(path)
        again = chen.get(path, headers={"If-None-Match": first.headers["etag"]})

    assert first.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert (again.status_code, again.content) == (304, b"")


def test_a_picture_shows_the_window_that_was_asked_for(portal: Portal) -> None:
    path = path_of(CT_SLICES[0])
    hounsfield = CT_SLICES[0].pixel_array.astype(float) - 1024
    with portal.client("chenyu") as chen:
        own = chen.get(f"{path}/rendered", headers={"Accept": "image/png"})
        wide = chen.get(
            f"{path}/frames/1/rendered?window=1000,4000,linear-exact", headers={"Accept": "image/png"}
        )
        small = chen.get(f"{path}/rendered?viewport=24,24&quality=60")
        thumbnail = chen.get(f"/dicom-web/studies/{STUDY}/series/{SERIES}/thumbnail")

    drawn = np.asarray(Image.open(io.BytesIO(own.content))).astype(float)
    assert np.abs(drawn - ((hounsfield - 39.5) / 399 + 0.5).clip(0, 1) * 255).max() <= 0.51
    drawn = np.asarray(Image.open(io.BytesIO(wide.content))).astype(float)
    assert np.abs(drawn - ((hounsfield - 1000) / 4000 + 0.5).clip(0, 1) * 255).max() <= 0.51
    assert Image.open(io.BytesIO(small.content)).size == (18, 24)
    assert small.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(thumbnail.content)).size == (96, 128)


@pytest.mark.parametrize(
    "query",
    ["window=1", "window=a,b", "window=40,400,cubic", "window=40,-1", "viewport=0,0", "viewport=9e9,3"],
)
def test_a_look_that_makes_no_sense_is_refused(portal: Portal, query: str) -> None:
    with portal.client("chenyu") as chen:
        assert chen.get(f"{path_of(CT_SLICES[0])}/rendered?{query}").status_code == 400


def test_a_look_is_written_into_the_trail_once_an_hour(portal: Portal) -> None:
    with portal.client("maqiang") as ma:
        for number in (1, 1, 1):
            assert ma.get(f"{path_of(CINES['basic'])}/frames/{number}").status_code == 200

    with portal.database.reading() as session:
        views = [e for e in history(session, f"study:{STUDY}") if (e.actor, e.verb) == ("maqiang", "view")]
    assert len(views) == 1


def test_the_manifest_orders_slices_as_they_lie_and_says_shared_things_once(portal: Portal) -> None:
    with portal.client("chenyu") as chen:
        answer = chen.get(f"/api/viewer/studies/{STUDY}/manifest")

    manifest = answer.json()
    assert manifest["patient"]["name"] == "张三"
    ct = next(one for one in manifest["series"] if one["series_instance_uid"] == SERIES)
    positions = [one["varying"]["00200032"]["Value"][2] for one in ct["instances"]]
    assert positions == sorted(positions)
    assert ct["common"]["00281050"]["Value"] == [40]
    assert "00100010" not in ct["common"]
    assert {one["transfer_syntax_uid"] for one in ct["instances"]} == {"1.2.840.10008.1.2.4.202"}
    assert {one["original_transfer_syntax_uid"] for one in ct["instances"]} == {ExplicitVRLittleEndian}
    cine = next(one for one in manifest["series"] if one["series_instance_uid"] == CINE_SERIES)
    assert [one["frames"] for one in cine["instances"]] == [7, 7, 7]


def test_frames_beyond_what_a_row_holds_keep_their_own_places(portal: Portal) -> None:
    frames, places = 900, []
    for number in range(frames):
        position, content, window, group = Dataset(), Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, number]
        content.StackID, content.InStackPositionNumber = "1", number + 1
        content.DimensionIndexValues = [1, number + 1]
        content.FrameAcquisitionNumber, content.TemporalPositionIndex = number, 1
        window.WindowCenter, window.WindowWidth = (40, 400) if number < frames - 1 else (1000, 400)
        group.PlanePositionSequence, group.FrameContentSequence = [position], [content]
        group.FrameVOILUTSequence = [window]
        # What vendors put beside them makes a header long.
        for extra in range(15):
            group.add_new(0x00291001 + extra, "LO", "vendor")
        places.append(group)
    image = an_image(
        np.zeros((frames, 8, 8), np.uint16) + 1500, study=STUDY, series=generate_uid(prefix=None)
    )
    image.PerFrameFunctionalGroupsSequence = places
    portal.keep(file_of(image))

    with portal.client("chenyu") as chen:
        (header,) = chen.get(f"{path_of(image)}/metadata").json()
        first = chen.get(f"{path_of(image)}/frames/1/rendered", headers={"Accept": "image/png"})
        last = chen.get(f"{path_of(image)}/frames/{frames}/rendered", headers={"Accept": "image/png"})

    positions = [
        group["00209113"]["Value"][0]["00200032"]["Value"][2] for group in header["52009230"]["Value"]
    ]
    assert positions == list(range(frames))
    assert np.asarray(Image.open(io.BytesIO(first.content))).max() == 255
    assert np.asarray(Image.open(io.BytesIO(last.content))).max() == 0


def test_a_segmented_palette_reaches_the_viewer_as_plain_numbers(portal: Portal) -> None:
    file = corpus("pydicom_data", "pydicom_data__gdcm-US-ALOKA-16.dcm").read_bytes()
    kept, dataset = portal.keep(file), pydicom.dcmread(io.BytesIO(file))

    with portal.client("chenyu") as chen:
        manifest = chen.get(f"/api/viewer/studies/{kept.study_instance_uid}/manifest").json()
        (header,) = chen.get(f"{path_of(dataset)}/metadata").json()
        red = chen.get(header["00281221"]["BulkDataURI"])
        picture = chen.get(f"{path_of(dataset)}/rendered", headers={"Accept": "image/png"})

    common = manifest["series"][0]["common"]
    assert len(common["00281201"]["Value"]) == 65536
    assert "00281201" not in header
    assert red.content == dataset.SegmentedRedPaletteColorLookupTableData
    expected = apply_color_lut(dataset.pixel_array, dataset)
    assert (np.asarray(Image.open(io.BytesIO(picture.content))) == expected >> 8).all()


def test_an_ecg_is_told_in_microvolts_and_drawn_as_paper(portal: Portal) -> None:
    file = corpus("ecg_dicom", "pydicom__waveform_ecg.dcm").read_bytes()
    kept = portal.keep(file)
    dataset = pydicom.dcmread(io.BytesIO(file))

    with portal.client("maqiang") as ma:
        ecg = ma.get(f"/api/viewer/studies/{kept.study_instance_uid}/ecg").json()
        picture = ma.get(f"{path_of(dataset)}/rendered")
        (header,) = ma.get(f"{path_of(dataset)}/metadata").json()
        samples = ma.get(header["54000100"]["Value"][1]["54001010"]["BulkDataURI"])

    lead = ecg["groups"][0]["leads"][0]
    assert (lead["name"], lead["unit"], lead["calibrated"]) == ("I", "mV", True)
    expected = dataset.waveform_array(0)[:, 0]
    assert np.abs(np.array(lead["samples_uv"]) - expected).max() <= 0.51
    assert ecg["measurements"]["qt_ms"] == 368
    assert picture.headers["content-type"].startswith("image/svg+xml")
    assert samples.content == dataset.WaveformSequence[1].WaveformData


def test_instances_are_stored_each_with_its_own_result(portal: Portal) -> None:
    study = generate_uid(prefix=None)
    good = [
        an_image(a_gradient(seed=n), study=study, series=SERIES + ".7", number=n, PatientID="P007")
        for n in (1, 2)
    ]
    bodies = [file_of(good[0]), b"not a DICOM file at all" * 20, file_of(good[1])]
    body = (
        b"".join(b"--xyz\r\nContent-Type: application/dicom\r\n\r\n" + one + b"\r\n" for one in bodies)
        + b"--xyz--"
    )
    kind = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=xyz'}

    with portal.client("maqiang") as ma:
        mixed = ma.post("/dicom-web/studies", content=body, headers=kind)
        again = ma.post(
            "/dicom-web/studies", content=file_of(good[0]), headers={"Content-Type": "application/dicom"}
        )
        other = ma.post(
            f"/dicom-web/studies/{STUDY}",
            content=file_of(good[0]),
            headers={"Content-Type": "application/dicom"},
        )
        back = ma.get(path_of(good[1]), headers={"Accept": "application/dicom"})
    with portal.client("hejing") as he:
        refused = he.post("/dicom-web/studies", content=body, headers=kind)

    assert mixed.status_code == 202
    assert len(mixed.json()["00081199"]["Value"]) == 2
    assert mixed.json()["0008119A"]["Value"][0]["00081197"]["Value"] == [0xC000]
    assert again.status_code == 200
    assert other.status_code == 409
    assert other.json()["00081198"]["Value"][0]["00081197"]["Value"] == [0xA900]
    assert back.content == file_of(good[1])
    assert refused.status_code == 403


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ('multipart/related; type="application/dicom"', b"--x--", 415),
        ('multipart/related; type="application/dicom"; boundary=x', b"nothing", 400),
        ('multipart/related; type="application/dicom"; boundary=x', b"--x--", 400),
        (
            'multipart/related; type="application/dicom"; boundary=x',
            b"--x\r\nContent-Type: text/html\r\n\r\n<p>\r\n--x--",
            415,
        ),
        ("text/plain", b"hello", 415),
        ("application/dicom", b"", 409),
    ],
)
def test_a_body_that_holds_no_instances_is_refused(
    portal: Portal, kind: str, body: bytes, status: int
) -> None:
    with portal.client("maqiang") as ma:
        assert (
            ma.post("/dicom-web/studies", content=body, headers={"Content-Type": kind}).status_code == status
        )


def test_dicomweb_client_works_unmodified(portal: Portal) -> None:
    from dicomweb_client.api import DICOMwebClient

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = DICOMwebClient(
            portal.dicomweb, headers={"Authorization": f"Bearer {portal.token('gateway')}"}
        )
        studies = client.search_for_studies(fuzzymatching=False, search_filters={"PatientID": "P001"})
        series = client.search_for_series(STUDY)
        instances = client.search_for_instances(STUDY, SERIES)
        metadata = client.retrieve_series_metadata(STUDY, SERIES)
        instance = client.retrieve_instance(STUDY, SERIES, CT_SLICES[1].SOPInstanceUID)
        whole = client.retrieve_series(STUDY, SERIES)
        frames = client.retrieve_instance_frames(STUDY, SERIES, CT_SLICES[1].SOPInstanceUID, [1])
        cine = client.retrieve_instance_frames(
            STUDY,
            CINE_SERIES,
            CINES["basic"].SOPInstanceUID,
            [2, 3],
            media_types=(("image/jls", "1.2.840.10008.1.2.4.80"),),
        )
        rendered = client.retrieve_instance_rendered(
            STUDY, SERIES, CT_SLICES[1].SOPInstanceUID, media_types=("image/png",)
        )
        bulk = client.retrieve_bulkdata(metadata[0]["7FE00010"]["BulkDataURI"])
        stored = an_image(
            a_gradient(), study=generate_uid(prefix=None), series=generate_uid(prefix=None), PatientID="P9"
        )
        result = client.store_instances([stored])

    assert [one["0020000D"]["Value"][0] for one in studies] == [STUDY]
    assert len(series) >= 3
    assert len(instances) == len(metadata) == len(whole) == len(CT_SLICES)
    assert instance.PixelData == CT_SLICES[1].PixelData
    assert frames[0] == CT_SLICES[1].PixelData
    assert (imagecodecs.jpegls_decode(cine[1]) == a_gradient(seed=2)).all()
    assert rendered.startswith(b"\x89PNG")
    assert bulk[0] == CT_SLICES[0].PixelData
    assert len(result.ReferencedSOPSequence) == 1
