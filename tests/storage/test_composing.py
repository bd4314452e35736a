"""A corrected dataset as it leaves: what is right, what was sent, and everything else as it was."""

import io
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from reading_portal.part10 import read_meta
from storage.composing import Composed, compose
from storage.headers import read_header
from storage.overlays import Overlay, overlaid
from storage.part10 import meta_bytes
from storage.places import BytesDataset, InflatedDataset
from storage.rejections import InstanceRejected
from storage.windows import DEFLATED
from tests.builders import a_dataset, bytes_of
from tests.corpora import corpus, corpus_files

EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
AT = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
LI = {
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "LI^SI", "Ideographic": "李^四"}]},
    "00100020": {"vr": "LO", "Value": ["P002"]},
    "00100030": {"vr": "DA", "Value": ["19700102"]},
    "00080050": {"vr": "SH", "Value": ["ACC2"]},
}


def overlay(values: dict = LI, **more: object) -> Overlay:
    return Overlay(values=values, at=AT, source="T01_CT", **more)  # type: ignore[arg-type]


def composed(raw: bytes, syntax: str, laid: Overlay) -> bytes:
    made = compose(InflatedDataset(raw) if syntax == DEFLATED else BytesDataset(raw), syntax, laid)
    assert made is not None
    with closing(made):
        said = made.length
        whole = made.readall()
    assert len(whole) == said
    return whole


def as_read(raw: bytes, syntax: str) -> Dataset:
    return dcmread(io.BytesIO(meta_bytes("1.2", "1.2", syntax, "") + raw), force=True)


def split(path: Path) -> tuple[bytes, str]:
    whole = path.read_bytes()
    meta, syntax = read_meta(io.BytesIO(whole))
    return whole[len(meta) :], syntax


def test_the_header_says_what_is_right_and_what_was_sent() -> None:
    sent = a_dataset(patient_name="Zhang^San=张^三", accession_number="ACC1")
    raw = bytes_of(sent)

    made = as_read(composed(raw, EXPLICIT_LITTLE, overlay()), EXPLICIT_LITTLE)

    assert (str(made.PatientName), made.PatientID, made.AccessionNumber) == ("LI^SI=李^四", "P002", "ACC2")
    (change,) = made.OriginalAttributesSequence
    before = change.ModifiedAttributesSequence[0]
    assert (str(before.PatientName), before.PatientID) == ("Zhang^San=张^三", "P001")
    assert (before.PatientBirthDate, before.AccessionNumber) == ("19580314", "ACC1")
    assert change.AttributeModificationDateTime == "20260504030201.000000+0000"
    assert (change.ModifyingSystem, change.SourceOfPreviousValues) == ("READING CENTER", "T01_CT")
    assert change.ReasonForTheAttributeModification == "CORRECT"


def test_what_says_the_right_thing_already_leaves_byte_for_byte() -> None:
    sent = a_dataset(patient_name="LI^SI=李^四", patient_id="P002", accession_number="ACC2")
    sent.PatientBirthDate = "19700102"
    raw = bytes_of(sent)

    assert compose(BytesDataset(raw), EXPLICIT_LITTLE, overlay()) is None


def test_earlier_modifications_stay_beside_ours() -> None:
    sent = a_dataset()
    once = composed(bytes_of(sent), EXPLICIT_LITTLE, overlay())

    twice = as_read(
        composed(once, EXPLICIT_LITTLE, overlay({"00100020": {"vr": "LO", "Value": ["P003"]}})),
        EXPLICIT_LITTLE,
    )

    said = [one.ModifiedAttributesSequence[0].PatientID for one in twice.OriginalAttributesSequence]
    assert said == ["P001", "P002"]
    assert twice.PatientID == "P003"


def test_what_speaks_of_somebody_else_is_taken_out_and_remembered() -> None:
    sent = a_dataset()
    sent.PatientAge, sent.OtherPatientIDs = "068Y", ["A", "B"]
    laid = overlay(removed=frozenset(["00101010", "00101000"]))

    made = as_read(composed(bytes_of(sent), EXPLICIT_LITTLE, laid), EXPLICIT_LITTLE)

    assert "PatientAge" not in made and "OtherPatientIDs" not in made
    before = made.OriginalAttributesSequence[0].ModifiedAttributesSequence[0]
    assert (before.PatientAge, list(before.OtherPatientIDs)) == ("068Y", ["A", "B"])


def in_charset(charset: str | list[str] | None, name: bytes, description: bytes) -> bytes:
    """A CT whose text is these bytes, whatever is declared."""
    sent = a_dataset()
    sent.PatientName, sent.StudyDescription = "x" * len(name), "y" * len(description)
    if charset is None:
        del sent.SpecificCharacterSet
    else:
        sent.SpecificCharacterSet = charset
    raw = bytes_of(sent)
    return raw.replace(b"x" * len(name), name).replace(b"y" * len(description), description)


GBK_NAME, GBK_CHEST = "张三丰".encode("gbk"), "胸部平扫".encode("gbk")
ESCAPED = b"Wang^XiaoDong=\x1b$)A\xcd\xf5^\x1b$)A\xd0\xa1\xb6\xab="


@pytest.mark.parametrize(
    ("declared", "name", "description", "leaves_as", "text"),
    [
        ("GB18030", GBK_NAME, GBK_CHEST, "GB18030", "胸部平扫"),
        ("ISO_IR 192", "张三丰".encode(), "胸部平扫".encode(), "ISO_IR 192", "胸部平扫"),
        # The common lies: what leaves declares what its bytes are.
        (None, GBK_NAME, GBK_CHEST, "GB18030", "胸部平扫"),
        ("ISO_IR 100", GBK_NAME, GBK_CHEST, "GB18030", "胸部平扫"),
        (None, "张三丰".encode(), "胸部平扫".encode(), "ISO_IR 192", "胸部平扫"),
        (["", "ISO 2022 IR 58"], ESCAPED, b"\x1b$)A\xd0\xd8\xb2\xbf  ", None, "胸部"),
        # A European set cannot hold the name: all its text is written anew.
        ("ISO_IR 100", b"M\xfcller  ", b"Sch\xe4del ", "ISO_IR 192", "Schädel"),
        (None, b"Li^Si ", b"THORAX", "ISO_IR 192", "THORAX"),
    ],
)
def test_a_corrected_header_can_be_read_whatever_the_device_declared(
    declared: str | list[str] | None, name: bytes, description: bytes, leaves_as: str | None, text: str
) -> None:
    name, description = (value + b" " * (len(value) % 2) for value in (name, description))
    raw = in_charset(declared, name, description)

    whole = composed(raw, EXPLICIT_LITTLE, overlay())

    header = read_header(whole, EXPLICIT_LITTLE)
    assert (header.patient_name, header.study_description) == ("LI^SI=李^四", text)
    assert not header.is_charset_guess
    made = as_read(whole, EXPLICIT_LITTLE)
    if leaves_as is not None:
        assert made.SpecificCharacterSet == leaves_as
        assert (str(made.PatientName), made.StudyDescription.strip()) == ("LI^SI=李^四", text)
    # What was replaced is the bytes that were sent.
    assert name.strip() in whole


def test_a_name_in_kanji_gives_way_to_a_chinese_one() -> None:
    raw, syntax = split(corpus("charset", "pydicom__chrH31.dcm"))

    header = read_header(composed(raw, syntax, overlay()), syntax)

    assert header.patient_name == "LI^SI=李^四"
    assert not header.is_charset_guess
    before = header.attributes["04000561"]["Value"][0]["04000550"]["Value"][0]["00100010"]["Value"][0]
    assert before["Ideographic"] == "山田^太郎"


def test_json_and_bytes_say_the_same() -> None:
    sent = a_dataset()
    sent.PatientAge = "068Y"
    raw = bytes_of(sent)
    laid = overlay(removed=frozenset(["00101010"]))

    told = overlaid(read_header(raw, EXPLICIT_LITTLE).attributes, laid)

    assert told == read_header(composed(raw, EXPLICIT_LITTLE, laid), EXPLICIT_LITTLE).attributes


def test_an_object_is_passed_on_in_pieces_and_its_pixels_unopened() -> None:
    sent = a_dataset()
    raw = bytes_of(sent)
    reads: list[tuple[int, int]] = []

    class Watched(BytesDataset):
        def read(self, at: int, length: int) -> bytes:
            reads.append((at, length))
            return super().read(at, length)

    made = compose(Watched(raw), EXPLICIT_LITTLE, overlay())
    assert isinstance(made, Composed)
    pixels = raw.index(b"\xe0\x7f\x10\0")
    assert max(at + length for at, length in reads) <= pixels + 12  # the head of the pixels' element
    reads.clear()
    pieces = [memoryview(bytearray(1000)) for _ in range(made.length // 1000 + 1)]

    got = made.read_into(pieces)

    assert got == made.length
    assert max(length for _, length in reads) <= 1000
    assert b"".join(pieces)[:got].endswith(raw[pixels:])


@pytest.mark.parametrize("path", corpus_files(), ids=lambda path: path.name)
def test_everything_that_is_kept_can_be_corrected_and_stays_otherwise_as_it_was(path: Path) -> None:
    try:
        raw, syntax = split(path)
        header = read_header(raw, syntax)
    except InstanceRejected as rejected:
        pytest.skip(f"the archive does not take it: {rejected}")

    whole = composed(raw, syntax, overlay())

    after = read_header(whole, syntax)
    assert after.patient_name == "LI^SI=李^四"
    assert after.damage == header.damage
    changed = {"00080005", "00080050", "00100010", "00100020", "00100030", "04000561"}
    kept = {
        tag: element for tag, element in header.attributes.items() if tag not in changed and tag[4:] != "0000"
    }
    assert {tag: element for tag, element in after.attributes.items() if tag not in changed} == kept
    if syntax == DEFLATED:
        raw, whole = (InflatedDataset(one).read(0, 1 << 30) for one in (raw, whole))
    tail = header.walked.pixel_length or 0
    if tail:
        assert whole.endswith(raw[-tail:])
