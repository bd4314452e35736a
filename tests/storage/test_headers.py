"""What we read from a dataset before we keep it, and what we refuse."""

import io
import json
import struct
import zlib
from datetime import date, datetime

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import write_dataset

from storage.headers import InstanceRejected, Unacceptable, read_header
from storage.part10 import meta_bytes
from tests.corpora import corpus, corpus_files

IMPLICIT, EXPLICIT, BIG, DEFLATED = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
)
JPEG_LS = "1.2.840.10008.1.2.4.80"
CT = "1.2.840.10008.5.1.4.1.1.2"


def a_ct(**changes) -> Dataset:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "GB18030"
    dataset.SOPClassUID = CT
    dataset.SOPInstanceUID = "1.2.3.4"
    dataset.StudyInstanceUID = "1.2.3"
    dataset.SeriesInstanceUID = "1.2.3.1"
    dataset.PatientID, dataset.PatientName = "P001", "ZHANG^SAN=张^三"
    dataset.PatientBirthDate, dataset.PatientSex = "19600229", "M"
    dataset.StudyDate, dataset.StudyTime = "20261122", "081500.25"
    dataset.AccessionNumber, dataset.Modality = "A100", "CT"
    dataset.StudyDescription, dataset.BodyPartExamined = "胸部CT平扫", "CHEST"
    dataset.SeriesNumber, dataset.InstanceNumber = 2, 17
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 4, 4, 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.ImagePositionPatient = [1.5, -2, 3]
    dataset.PixelData = np.arange(16, dtype="<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    for keyword, value in changes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def encode(dataset: Dataset, transfer_syntax_uid: str = EXPLICIT) -> bytes:
    file = pydicom.filebase.DicomBytesIO()
    file.is_little_endian = transfer_syntax_uid != BIG
    file.is_implicit_VR = transfer_syntax_uid == IMPLICIT
    write_dataset(file, dataset)
    raw = file.getvalue()
    if transfer_syntax_uid == DEFLATED:
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        raw = packer.compress(raw) + packer.flush()
    return raw


def refusal(raw: bytes, transfer_syntax_uid: str = EXPLICIT) -> Unacceptable:
    with pytest.raises(InstanceRejected) as refused:
        read_header(raw, transfer_syntax_uid)
    return refused.value.kind


@pytest.mark.parametrize("transfer_syntax_uid", [IMPLICIT, EXPLICIT, BIG, DEFLATED])
def test_the_same_header_is_read_from_every_encoding(transfer_syntax_uid):
    raw = encode(a_ct(), transfer_syntax_uid)

    header = read_header(raw, transfer_syntax_uid)
    from_file = read_header(io.BytesIO(raw), transfer_syntax_uid)

    assert header == from_file
    assert (header.study_instance_uid, header.series_instance_uid) == ("1.2.3", "1.2.3.1")
    assert (header.sop_instance_uid, header.sop_class_uid) == ("1.2.3.4", CT)
    assert (header.patient_id, header.patient_name, header.patient_sex) == ("P001", "ZHANG^SAN=张^三", "M")
    assert header.patient_birth_date == date(1960, 2, 29)
    assert header.study_date == date(2026, 11, 22)
    assert header.study_moment == datetime(2026, 11, 22, 8, 15)
    assert (header.accession_number, header.study_description) == ("A100", "胸部CT平扫")
    assert (header.series_number, header.instance_number) == (2, 17)
    assert (header.rows, header.columns, header.number_of_frames, header.bits_allocated) == (4, 4, 1, 16)
    assert header.charset_evidence == "GB18030" and not header.is_charset_guess
    assert header.damage is None


def test_attributes_are_dicom_json_without_pixels_and_without_bulk():
    dataset = a_ct()
    dataset.add_new(0x00091001, "OB", b"\x01\x02")
    dataset.add_new(0x00091002, "OB", bytes(4096))
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CT, "1.2.9"
    dataset.ReferencedImageSequence = [item]
    dataset.WindowCenter = ["40", "400"]

    attributes = read_header(encode(dataset), EXPLICIT).attributes

    json.dumps(attributes, allow_nan=False)
    assert attributes["00100010"] == {
        "vr": "PN",
        "Value": [{"Alphabetic": "ZHANG^SAN", "Ideographic": "张^三"}],
    }
    assert attributes["00200032"] == {"vr": "DS", "Value": [1.5, -2.0, 3.0]}
    assert attributes["00281050"]["Value"] == [40.0, 400.0]
    assert attributes["00081140"]["Value"][0]["00081155"]["Value"] == ["1.2.9"]
    assert attributes["00091001"]["InlineBinary"] == "AQI="
    assert "00091002" not in attributes and "7FE00010" not in attributes


def test_what_nobody_declared_is_read_by_evidence():
    raw = encode(a_ct(SpecificCharacterSet="GB18030")).replace(b"GB18030 ", b"ISO_IR 1", 1)
    raw = raw.replace(b"ISO_IR 1", b"ISO_IR 6", 1)

    header = read_header(raw, EXPLICIT)

    assert header.patient_name == "ZHANG^SAN=张^三"
    assert (header.charset_evidence, header.is_charset_guess) == ("GB18030", True)
    assert header.specific_character_set == ("ISO_IR 6",)


@pytest.mark.parametrize(
    "keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"]
)
def test_a_dataset_without_an_identifier_is_refused(keyword):
    assert refusal(encode(a_ct(**{keyword: None}))) is Unacceptable.IDENTIFIERS


@pytest.mark.parametrize(
    "uid",
    ["../../x", "/etc/passwd", "1.2.3/../4", "1..2", "1.2.", "1.2.a", "1." + "2" * 64, "1.2\\3.4", "1.2\n"],
)
def test_a_uid_that_is_none_is_refused(uid):
    dataset = a_ct()
    dataset["StudyInstanceUID"]._value = uid

    assert refusal(encode(dataset)) is Unacceptable.IDENTIFIERS


def test_an_empty_dataset_is_refused():
    assert refusal(b"") is Unacceptable.EMPTY


def test_a_truncated_dataset_is_refused_or_called_damaged_wherever_it_was_cut():
    raw = encode(a_ct())

    outcomes = [_outcome(raw[:length]) for length in range(1, len(raw))]

    assert set(outcomes) <= {
        Unacceptable.TRUNCATED,
        Unacceptable.IDENTIFIERS,
        "there are rows and columns but no pixel data",
        None,  # cut exactly between two elements, before anything said that pixels would come
    }
    assert outcomes.count(None) < 10
    assert outcomes[-1] is Unacceptable.TRUNCATED


def _outcome(raw: bytes) -> Unacceptable | str | None:
    try:
        return read_header(raw, EXPLICIT).damage
    except InstanceRejected as refused:
        return refused.kind


@pytest.mark.parametrize("is_defined", [True, False])
def test_sixty_thousand_nested_sequences_are_refused_without_recursion(is_defined):
    head = struct.pack("<HH2sHL", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF)
    deep = (head + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)) * 60_000
    if is_defined:
        deep = b""
        for _ in range(200):
            deep = (
                struct.pack("<HH2sHL", 0x0040, 0xA730, b"SQ", 0, len(deep) + 8)
                + struct.pack("<HHL", 0xFFFE, 0xE000, len(deep))
                + deep
            )

    assert refusal(encode(a_ct(PixelData=None)) + deep) is Unacceptable.NESTING


def test_a_header_larger_than_any_real_one_is_refused():
    element = struct.pack("<HH2sH", 0x0009, 0x1010, b"LO", 0)

    assert refusal(encode(a_ct(PixelData=None)) + element * 600_000) is Unacceptable.TOO_LARGE


def test_a_deflated_bomb_is_refused_before_it_unfolds():
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    bomb = packer.compress(struct.pack("<HH2sHL", 0x0009, 0x1010, b"UN", 0, 60 << 20))
    for _ in range(60):
        bomb += packer.compress(bytes(1 << 20))
    bomb += packer.flush()

    assert refusal(bomb, DEFLATED) is Unacceptable.TOO_LARGE


def test_pixels_shorter_than_the_rows_and_columns_are_kept_and_called_damaged():
    header = read_header(encode(a_ct(PixelData=bytes(8))), EXPLICIT)

    assert header.is_damaged
    assert header.damage == "pixel data of 8 bytes where rows × columns × frames need 32"


def test_fewer_fragments_than_frames_are_called_damaged():
    dataset = a_ct(NumberOfFrames=3)
    dataset.PixelData = encapsulate([b"\xff\xd8ab", b"\xff\xd8cd"])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    whole = encode(dataset)

    assert read_header(whole, JPEG_LS).damage == "2 fragments for 3 frames"
    assert read_header(whole[:-8], JPEG_LS).damage == "the end of the pixel data is missing"
    assert refusal(whole[:-12], JPEG_LS) is Unacceptable.TRUNCATED


def test_bytes_in_another_transfer_syntax_than_agreed_are_kept_and_called_damaged():
    header = read_header(encode(a_ct(), IMPLICIT), EXPLICIT)

    assert header.patient_name == "ZHANG^SAN=张^三"
    assert header.damage == "the dataset is not in the transfer syntax that was agreed"


def test_what_follows_the_pixels_says_nothing_and_may_be_damaged():
    never_closed = struct.pack("<HH2sHL", 0x7FE0, 0x0011, b"SQ", 0, 0xFFFFFFFF)
    second_name = struct.pack("<HH2sH", 0x7FE1, 0x0010, b"LO", 2) + b"XX"

    assert read_header(encode(a_ct()) + second_name, EXPLICIT).damage is None
    assert read_header(encode(a_ct()) + never_closed, EXPLICIT).damage.startswith("after the pixel data")


@pytest.mark.parametrize("number", ["99999999999", "-99999999999", "1e300", "nan", "seven"])
def test_a_number_that_is_none_is_left_out(number):
    dataset = a_ct()
    dataset.add_new(0x00200013, "LO", number)
    raw = encode(dataset).replace(b"\x20\x00\x13\x00LO", b"\x20\x00\x13\x00IS")

    assert read_header(raw, EXPLICIT).instance_number is None


@settings(max_examples=300, deadline=None)
@given(
    changes=st.lists(
        st.tuples(
            st.integers(0, 700), st.sampled_from([b"", b"\0", b"\xff\xff\xff\xff", b"\x1b$)A", b"SQ", b"\\"])
        ),
        min_size=1,
        max_size=6,
    ),
    transfer_syntax_uid=st.sampled_from([IMPLICIT, EXPLICIT, BIG, DEFLATED]),
)
def test_no_mutation_of_a_dataset_does_more_than_be_refused(changes, transfer_syntax_uid):
    raw = bytearray(encode(a_ct(), transfer_syntax_uid))
    for position, piece in changes:
        raw[position : position + max(1, len(piece))] = piece

    try:
        header = read_header(bytes(raw), transfer_syntax_uid)
    except InstanceRejected:
        return

    json.dumps(header.attributes, allow_nan=False).encode()


def test_names_switched_by_escape_sequences_are_read_whole():
    dataset = a_ct(SpecificCharacterSet=["", "ISO 2022 IR 58"], StudyDescription="chest")
    dataset["PatientName"] = pydicom.DataElement(
        0x00100010, "PN", b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab="
    )

    header = read_header(encode(dataset), EXPLICIT)

    assert header.patient_name == "Zhang^XiaoDong=张^小东="
    assert (header.charset_evidence, header.is_charset_guess) == ("ISO 2022 IR 58", False)


def test_a_vr_of_two_spaces_has_the_short_form():
    # As GE's screen saves write Pixel Padding Value.
    padding = struct.pack("<HH2sHh", 0x0028, 0x0120, b"  ", 2, -2000)
    raw = encode(a_ct())
    at = raw.index(b"\xe0\x7f\x10\0")

    header = read_header(raw[:at] + padding + raw[at:], EXPLICIT)

    assert header.damage is None
    assert header.rows == a_ct().Rows


def test_an_implicit_value_that_only_the_dictionary_calls_a_sequence_is_a_value():
    # (0040,A170) was a code string in the trial of structured reports.
    raw = encode(a_ct(), IMPLICIT)
    at = raw.index(b"\xe0\x7f\x10\0")
    observed = struct.pack("<HHL", 0x0040, 0xA170, 8) + b"NAMED ON"

    header = read_header(raw[:at] + observed + raw[at:], IMPLICIT)

    assert header.damage is None
    assert "0040A170" in header.attributes


def test_a_compressed_icon_does_not_stop_the_walk():
    icon = Dataset()
    icon.Rows = icon.Columns = 8
    icon.PixelData = encapsulate([b"\xff\xd8ab"])
    icon["PixelData"].VR = "OB"
    icon["PixelData"].is_undefined_length = True
    dataset = a_ct(IconImageSequence=[icon])
    dataset.PixelData = encapsulate([b"\xff\xd8ab"])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True

    assert read_header(encode(dataset), JPEG_LS).damage is None


def test_meta_information_and_dataset_make_a_part_10_file():
    raw = encode(a_ct())

    whole = meta_bytes(CT, "1.2.3.4", EXPLICIT, "T01_CT") + raw

    read = pydicom.dcmread(io.BytesIO(whole))
    assert isinstance(read.file_meta, FileMetaDataset)
    assert read.file_meta.TransferSyntaxUID == EXPLICIT
    assert read.file_meta.SourceApplicationEntityTitle == "T01_CT"
    assert read.SOPInstanceUID == "1.2.3.4"
    assert whole.endswith(raw)


@pytest.mark.parametrize(
    "path",
    [
        *corpus_files("charset"),
        *corpus_files("malformed"),
        *corpus_files("transfer_syntax"),
        *corpus_files("ecg_dicom"),
        *corpus_files("modality"),
        *corpus_files("sr_pr_pdf_seg_rt"),
    ]
    or [None],
    ids=lambda path: path.name if path else "absent",
)
def test_every_real_file_is_read_or_refused_with_a_reason(path):
    raw = (path or corpus("charset")).read_bytes()
    transfer_syntax_uid, start = _meta(raw)

    try:
        header = read_header(raw[start:], transfer_syntax_uid)
    except InstanceRejected as refused:
        assert len(str(refused)) <= 64 and str(refused).isascii()
        return

    json.dumps(header.attributes, allow_nan=False)
    assert "\x1b" not in json.dumps(header.attributes, ensure_ascii=False)
    assert header == read_header(io.BytesIO(raw[start:]), transfer_syntax_uid)


@pytest.mark.parametrize(
    ("name", "patient_name"),
    [
        ("pydicom__chrX1.dcm", "Wang^XiaoDong=王^小東="),
        ("pydicom__chrX2.dcm", "Wang^XiaoDong=王^小东="),
        ("pydicom__chrH31.dcm", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("pydicom__chrI2.dcm", "Hong^Gildong=洪^吉洞=홍^길동"),
        ("pydicom__chrRuss.dcm", "Люкceмбypг"),
        ("pydicom__chrArab.dcm", "قباني^لنزار"),
    ],
)
def test_the_names_of_the_standard_are_read(name, patient_name):
    raw = corpus("charset", name).read_bytes()
    transfer_syntax_uid, start = _meta(raw)

    assert read_header(raw[start:], transfer_syntax_uid).patient_name == patient_name


def _meta(raw: bytes) -> tuple[str, int]:
    """Transfer syntax and start of the dataset; implicit from the first byte where there is no meta."""
    if raw[128:132] != b"DICM":
        return IMPLICIT, 0
    at, transfer_syntax_uid = 132, EXPLICIT
    while raw[at : at + 2] == b"\x02\0":
        is_long = raw[at + 4 : at + 6] in (b"OB", b"UN")
        length = struct.unpack_from("<L" if is_long else "<H", raw, at + (8 if is_long else 6))[0]
        value = at + (12 if is_long else 8)
        if raw[at + 2 : at + 4] == b"\x10\0":
            transfer_syntax_uid = raw[value : value + length].decode("ascii").strip(" \0")
        at = value + length
    return transfer_syntax_uid, at
