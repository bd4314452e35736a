"""What no dictionary has: private SOP classes and transfer syntaxes, kept where the settings say so."""

import pytest
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pynetdicom import build_role, evt
from sqlalchemy import select

from dicom_node.node import build_node
from storage.imaging import Instance
from storage.settings import BadSetting
from tests.dicom_node.conftest import declare, settings_for
from tests.dicom_node.devices import CT, a_ct, associated, encoded, send
from tests.dicom_node.test_query_retrieve import IMPLICIT, STUDY_FIND, STUDY_GET, query

EXPLICIT = "1.2.840.10008.1.2.1"
GE_CLASS, GE_SYNTAX = "1.2.840.113619.4.26", "1.2.840.113619.5.2"  # Private 3D Model; implicit, pixels big
STRANGE_CLASS = "1.3.46.670589.2.4.1.1"
NEWEST = "1.2.840.10008.5.1.4.1.1.66.7"  # Label Map Segmentation


@pytest.fixture
def a_node(sqlite_pair, tmp_path):
    """Starts a node with these settings; it is stopped at the end."""
    nodes = []

    def start(**words):
        declare(sqlite_pair.database)
        node = build_node(
            settings_for(sqlite_pair, tmp_path, **words), sqlite_pair.database, sqlite_pair.objects
        )
        node.start()
        nodes.append(node)
        return node

    yield start
    for node in nodes:
        node.stop()


def implicit(dataset):
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, True
    write_dataset(file, dataset)
    return bytes(file.getvalue())


def accepted(node, *contexts):
    with associated(node, *contexts) as association:
        return [
            (str(one.abstract_syntax), str(one.transfer_syntax[0])) for one in association.accepted_contexts
        ]


# The same truth for both upper layers: a query beside the images makes it pynetdicom's association.
BESIDE = pytest.mark.parametrize(
    "beside", [(), ((STUDY_FIND, [IMPLICIT]),)], ids=["storage-alone", "and-query"]
)


@BESIDE
def test_what_is_private_is_refused_unless_configured(a_node, beside):
    node = a_node()

    said = accepted(node, (GE_CLASS, [EXPLICIT]), (CT, [GE_SYNTAX]), (CT, [EXPLICIT]), *beside)

    assert said == [(CT, EXPLICIT), *((uid, syntaxes[0]) for uid, syntaxes in beside)]


@BESIDE
def test_a_private_object_comes_back_as_it_was_sent(a_node, beside):
    node = a_node(storage_sop_classes=GE_CLASS, storage_transfer_syntaxes=GE_SYNTAX)
    dataset = a_ct(SOPClassUID=GE_CLASS)
    raw = implicit(dataset)

    with associated(node, (GE_CLASS, [GE_SYNTAX]), *beside) as association:
        said = send(association, raw, sop_instance_uid=dataset.SOPInstanceUID, sop_class_uid=GE_CLASS)
    received = []

    def take(event):
        received.append(event.request.DataSet.getvalue())
        return 0

    with associated(
        node,
        (STUDY_GET, [IMPLICIT]),
        (GE_CLASS, [GE_SYNTAX]),
        ext_neg=[build_role(GE_CLASS, scp_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, take)],
    ) as association:
        asked = query("STUDY", StudyInstanceUID=dataset.StudyInstanceUID)
        answers = [status for status, _ in association.send_c_get(asked, STUDY_GET)]

    assert said == (0, "")
    assert answers[-1].Status == 0
    assert received == [raw]
    with node.database.reading() as session:
        kept = session.scalars(select(Instance)).one()
        assert (kept.sop_class_uid, kept.transfer_syntax_uid, kept.damage) == (GE_CLASS, GE_SYNTAX, None)


@BESIDE
def test_whatever_nobody_knows_is_kept_where_that_is_configured(a_node, beside):
    node = a_node(storage_sop_classes="*")
    dataset = a_ct(SOPClassUID=STRANGE_CLASS)

    with associated(node, (STRANGE_CLASS, [EXPLICIT]), *beside) as association:
        said = send(
            association,
            encoded(dataset),
            sop_instance_uid=dataset.SOPInstanceUID,
            sop_class_uid=STRANGE_CLASS,
        )

    assert said == (0, "")
    # Known services stay what they are: printing is no storage, and nor is a media directory.
    printing, directory = "1.2.840.10008.5.1.1.9", "1.2.840.10008.1.3.10"
    assert accepted(node, (printing, [EXPLICIT]), (directory, [EXPLICIT]), *beside) == [
        (uid, syntaxes[0]) for uid, syntaxes in beside
    ]


def test_the_newest_classes_of_the_standard_need_no_setting(a_node):
    assert accepted(a_node(), (NEWEST, [EXPLICIT])) == [(NEWEST, EXPLICIT)]


@pytest.mark.parametrize(
    "words",
    [
        {"storage_sop_classes": "CT"},
        {"storage_transfer_syntaxes": "*"},
        {"storage_transfer_syntaxes": "1.2.840.10008.1.2.4.94"},
        {"storage_transfer_syntaxes": "1.2.840.10008.1.2.4.205, 1.2.840.113619.5.2"},
    ],
)
def test_nonsense_is_refused_at_start(sqlite_pair, tmp_path, words):
    with pytest.raises(BadSetting):
        settings_for(sqlite_pair, tmp_path, **words)
