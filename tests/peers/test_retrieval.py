"""What we send to real receivers: DCMTK's with the smallest PDUs, Orthanc; and over TLS."""

import json
import ssl
import time
import urllib.request

import pytest
from pydicom import dcmread
from pynetdicom import AE, build_role, evt

from tests.dicom_node.devices import CT, a_ct, dcmtk, encoded
from tests.dicom_node.test_query_retrieve import EXPLICIT, IMPLICIT, STUDY_GET, keep, query
from tests.dicom_node.test_storage_user import large, slices_of_one_study
from tests.dicom_node.test_sub_operations import move
from tests.programs import program
from tests.servers.process import free_port, start, stop


def listens(port):
    import socket

    until = time.monotonic() + 30
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("the receiver does not listen")


@pytest.fixture
def storescp(receiver_port, tmp_path, request):
    """DCMTK's receiver, which writes what it gets bit by bit."""
    folder = tmp_path / "received"
    folder.mkdir()
    words = getattr(request, "param", [])
    command = [
        program("storescp", of="dcmtk"),
        "+B",
        *words,
        "-od",
        str(folder),
        "-aet",
        "T01_PACS",
        str(receiver_port),
    ]
    process = start(command, log=tmp_path / "storescp.log", cwd=tmp_path)
    listens(receiver_port)
    yield folder
    stop(process)


def datasets_in(folder):
    """By SOP Instance UID, the bytes behind the meta information."""
    found = {}
    for path in folder.iterdir():
        whole = path.read_bytes()
        meta = dcmread(path, stop_before_pixels=True, specific_tags=[]).file_meta
        found[str(meta.MediaStorageSOPInstanceUID)] = whole[144 + meta.FileMetaInformationGroupLength :]
    return found


@pytest.mark.parametrize(
    "storescp", [["-pdu", "4096"], ["-pdu", "131072"]], ids=["4096", "131072"], indirect=True
)
def test_storescp_gets_the_very_same_bytes_in_pdus_of_its_size(node, storescp):
    slices = [*slices_of_one_study(5)]
    slices.append(large(StudyInstanceUID=slices[0].StudyInstanceUID))
    keep(node, *slices)

    said = move(node, slices[0].StudyInstanceUID)

    assert said[-1][:2] == (0, (None, 6, 0, 0))
    assert datasets_in(storescp) == {str(one.SOPInstanceUID): encoded(one) for one in slices}


def test_a_storescp_that_aborts_in_the_middle_of_an_image_is_a_failure_with_a_name(
    node, receiver_port, tmp_path
):
    command = [program("storescp", of="dcmtk"), "--abort-during", "-aet", "T01_PACS", str(receiver_port)]
    process = start(command, log=tmp_path / "storescp.log", cwd=tmp_path)
    listens(receiver_port)
    dataset = a_ct()
    keep(node, dataset)

    said = move(node, dataset.StudyInstanceUID)
    stop(process)

    assert said[-1] == (0xA702, (None, 0, 1, 0), [dataset.SOPInstanceUID])


def test_orthanc_takes_what_is_moved_to_it(node, receiver_port, tmp_path):
    http = free_port()
    configuration = {
        "StorageDirectory": str(tmp_path / "db"),
        "IndexDirectory": str(tmp_path / "db"),
        "DicomPort": receiver_port,
        "DicomAet": "T01_PACS",
        "HttpPort": http,
        "AuthenticationEnabled": False,
        "Plugins": [],
    }
    (tmp_path / "orthanc.json").write_text(json.dumps(configuration))
    process = start(
        [program("Orthanc", of="orthanc"), tmp_path / "orthanc.json"],
        log=tmp_path / "orthanc.log",
        cwd=tmp_path,
    )
    listens(receiver_port)
    slices = slices_of_one_study(20)
    keep(node, *slices)

    said = move(node, slices[0].StudyInstanceUID)

    with urllib.request.urlopen(f"http://127.0.0.1:{http}/statistics", timeout=10) as answer:
        statistics = json.load(answer)
    stop(process)
    assert said[-1][:2] == (0, (None, 20, 0, 0))
    assert (statistics["CountInstances"], statistics["CountStudies"]) == (20, 1)


def test_getscu_that_takes_only_implicit_gets_every_image(node, tmp_path):
    slices = slices_of_one_study(4)
    keep(node, *slices)
    folder = tmp_path / "received"
    folder.mkdir()
    words = ["-S", "+xi", "-k", "QueryRetrieveLevel=STUDY"]
    words += ["-k", f"StudyInstanceUID={slices[0].StudyInstanceUID}", "-od", str(folder)]

    status, said = dcmtk("getscu", *words, node=node)

    assert status == 0, said
    received = [dcmread(path) for path in folder.iterdir()]
    assert {one.SOPInstanceUID for one in received} == {one.SOPInstanceUID for one in slices}
    assert {one.PixelData for one in received} == {slices[0].PixelData}


def test_a_get_over_tls_gives_the_very_same_bytes(node, authority):
    own = authority.issue("T01_CT", at="127.0.0.1")
    context = ssl.create_default_context(cafile=str(authority.path))
    context.check_hostname = False
    context.load_cert_chain(own.certificate, own.key)
    slices = slices_of_one_study(3)
    slices.append(large(StudyInstanceUID=slices[0].StudyInstanceUID))
    keep(node, *slices)
    taken = {}

    def take(event):
        taken[event.request.AffectedSOPInstanceUID] = event.request.DataSet.getvalue()
        return 0

    entity = AE("T01_CT")
    entity.add_requested_context(STUDY_GET, [IMPLICIT])
    entity.add_requested_context(CT, [EXPLICIT])
    association = entity.associate(
        "127.0.0.1",
        node.tls_port,
        ae_title="READINGCENTER",
        tls_args=(context, None),
        ext_neg=[build_role(CT, scp_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, take)],
    )
    asked = query("STUDY", StudyInstanceUID=slices[0].StudyInstanceUID)
    answers = [status for status, _ in association.send_c_get(asked, STUDY_GET)]
    association.release()

    assert (answers[-1].Status, answers[-1].NumberOfCompletedSuboperations) == (0, 4)
    assert taken == {one.SOPInstanceUID: encoded(one) for one in slices}
