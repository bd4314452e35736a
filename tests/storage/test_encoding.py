"""What we answer is a dataset that any peer reads, in each encoding and character set."""

import math
import struct

import pydicom
import pytest
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset

from storage.attributes import encoding_of, to_dicom_json
from storage.elements import walk
from storage.encoding import encode

ATTRIBUTES = {
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "ZHANG^SAN", "Ideographic": "张^三"}]},
    "00080060": {"vr": "CS", "Value": ["CT"]},
    "00081030": {"vr": "LO", "Value": ["胸部平扫"]},
    "00280010": {"vr": "US", "Value": [512]},
    "00201206": {"vr": "IS", "Value": [3]},
    "00281050": {"vr": "DS", "Value": [40.5, -600]},
    "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
    "00080054": {"vr": "AE"},
    "00400100": {"vr": "SQ", "Value": [{"00400007": {"vr": "LO", "Value": ["增强"]}}]},
    "00280009": {"vr": "AT", "Value": ["00181063"]},
    "00090010": {"vr": "OB", "InlineBinary": "AQID"},
}


@pytest.mark.parametrize("charset", ["ISO_IR 192", "GB18030", "GBK"])
@pytest.mark.parametrize(("is_implicit", "is_big_endian"), [(True, False), (False, False), (False, True)])
def test_a_peer_reads_what_was_meant(charset, is_implicit, is_big_endian):
    raw = encode(ATTRIBUTES, charset=charset, is_implicit=is_implicit, is_big_endian=is_big_endian)

    read = read_dataset(DicomBytesIO(raw), is_implicit, not is_big_endian)
    read = pydicom.Dataset(read)
    assert read.SpecificCharacterSet == charset
    assert str(read.PatientName) == "ZHANG^SAN=张^三"
    assert (read.StudyDescription, read.ScheduledProcedureStepSequence[0][0x00400007].value) == (
        "胸部平扫",
        "增强",
    )
    assert (read.Rows, read.NumberOfStudyRelatedSeries, list(read.WindowCenter)) == (512, 3, [40.5, -600])
    assert read.RetrieveAETitle in ("", None)
    assert read[0x00280009].value == 0x00181063


def test_plain_text_declares_no_character_set():
    raw = encode({"00100010": {"vr": "PN", "Value": [{"Alphabetic": "ZHANG^SAN"}]}}, charset="GB18030")

    assert raw == b"\x10\x00\x10\x00PN\x0a\x00ZHANG^SAN "


def test_what_a_character_set_cannot_hold_is_a_question_mark():
    raw = encode({"00081030": {"vr": "LO", "Value": ["胸部"]}}, charset="ISO_IR 100")

    assert raw.endswith(b"LO\x02\x00??")


def test_numbers_that_are_none_survive_the_way_through_json():
    raw = struct.pack("<HH2sHdd", 0x0018, 0x9087, b"FD", 16, math.nan, -math.inf)
    walked = walk(raw, "1.2.840.10008.1.2.1")

    said = to_dicom_json(walked.elements, encoding_of(walked))

    assert encode(said, charset="ISO_IR 192") == raw
