"""What is scanned in a hurry is what the walk would have found; what the walk refuses is not accepted."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian

from storage.headers import WANTED, InstanceRejected, read_header, scan_header
from storage.scanning import scan
from tests.builders import a_dataset, bytes_of

EXPLICIT = str(ExplicitVRLittleEndian)
SHARED = Path(__file__).parents[3] / "shared" / "testdata"
NOT_COMPARED = {"walked", "encoding", "scanned"}
FILES = ["CT_small.dcm", "MR_small.dcm", "waveform_ecg.dcm", "JPEG2000.dcm", "nested_priv_SQ.dcm"]


def _said(read, dataset: bytes, syntax: str):
    try:
        header = read(dataset, syntax)
    except InstanceRejected as rejected:
        return str(rejected)
    names = {field.name for field in dataclasses.fields(header)} - NOT_COMPARED
    return {name: getattr(header, name) for name in names}


def _dataset_of(path: Path) -> tuple[bytes, str] | None:
    whole = path.read_bytes()
    if whole[128:132] != b"DICM":
        return None
    try:
        meta = dcmread(path, stop_before_pixels=True, specific_tags=[]).file_meta
    except Exception:
        return None
    start = 144 + int(meta.get("FileMetaInformationGroupLength", 0))
    return whole[start:], str(meta.get("TransferSyntaxUID", ""))


def _originals() -> list[bytes]:
    found = [_dataset_of(Path(str(get_testdata_file(name)))) for name in FILES]
    return [one[0] for one in found if one is not None] + [bytes_of(a_dataset())]


ORIGINALS = _originals()


def test_every_file_of_the_corpus_is_scanned_as_it_is_walked():
    if not SHARED.is_dir():
        pytest.skip("needs the shared corpus, which is not beside the project")
    compared = scanned = 0
    for path in sorted(one for one in SHARED.rglob("*") if one.is_file()):
        found = _dataset_of(path)
        if found is None:
            continue
        compared += 1
        scanned += scan(found[0], found[1], WANTED) is not None
        assert _said(scan_header, *found) == _said(read_header, *found), path.name
    assert compared > 300
    assert scanned > compared * 0.7, (
        "the corpus is mostly what devices send, so most of it takes the short way"
    )


def test_what_a_device_sends_takes_the_short_way():
    assert scan(bytes_of(a_dataset()), EXPLICIT, WANTED) is not None
    assert scan(memoryview(bytes_of(a_dataset(modality="ECG"))), EXPLICIT, WANTED) is not None


def test_text_inside_a_sequence_still_shows_the_character_set():
    dataset = a_dataset(patient_name="ZHANG^SAN")
    del dataset.SpecificCharacterSet
    raw = bytes_of(dataset)
    # A nested LO with GBK in it, undeclared, before everything that follows group 0008.
    name = "胸部平扫".encode("gbk")
    element = b"\x08\0\x04\x01LO" + len(name).to_bytes(2, "little") + name
    item = b"\xfe\xff\0\xe0" + len(element).to_bytes(4, "little") + element
    sequence = b"\x08\0\x32\x10SQ\0\0" + len(item).to_bytes(4, "little") + item
    at = raw.index(b"\x10\0\x10\0PN")
    nested = raw[:at] + sequence + raw[at:]

    assert scan(nested, EXPLICIT, WANTED) is not None
    assert scan_header(nested, EXPLICIT).charset_evidence == "GB18030"
    assert _said(scan_header, nested, EXPLICIT) == _said(read_header, nested, EXPLICIT)


@pytest.mark.parametrize(
    "head", [b"\xfe\xff\0\xe0UI\0\0", b"\xfe\xff\0\xe0SQ\0\0\0\0\0\0", b"\xfe\xff\0\xe0OB\0\0\0\0\0\0"]
)
def test_an_item_where_no_sequence_is_open_is_refused_here_too(head):
    raw = bytes_of(a_dataset())
    at = raw.index(b"\x10\0\x10\0PN")
    inner = b"\x08\0\x32\x10SQ\0\0" + (8 + len(head)).to_bytes(4, "little")
    inner += b"\xfe\xff\0\xe0" + len(head).to_bytes(4, "little") + head

    for stray in (head, inner):
        broken = raw[:at] + stray + raw[at:]

        assert _said(scan_header, broken, EXPLICIT) == _said(read_header, broken, EXPLICIT)
        assert isinstance(_said(read_header, broken, EXPLICIT), str)


def test_attributes_of_a_scanned_header_are_all_there():
    raw = bytes_of(a_dataset())

    assert scan_header(raw, EXPLICIT).attributes == read_header(raw, EXPLICIT).attributes


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_damaged_datasets_are_refused_or_read_alike(data):
    raw = bytearray(data.draw(st.sampled_from(ORIGINALS)))
    head = min(len(raw), 6000)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, head - 1))
        raw[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del raw[data.draw(st.integers(1, len(raw))) :]

    damaged = bytes(raw)

    assert _said(scan_header, damaged, EXPLICIT) == _said(read_header, damaged, EXPLICIT)


def test_a_sequence_that_was_passed_before_is_no_excuse_for_a_shorter_one():
    channel = b"\x08\0\x04\x01LO\x40\0" + b"LEAD".ljust(64)
    item = b"\xfe\xff\0\xe0" + len(channel).to_bytes(4, "little") + channel
    raw = bytes_of(a_dataset())
    at = raw.index(b"\x10\0\x10\0PN")

    def nested(length: int) -> bytes:
        return raw[:at] + b"\x08\0\x32\x10SQ\0\0" + length.to_bytes(4, "little") + item

    whole = nested(len(item)) + raw[at:]
    assert scan(whole, EXPLICIT, WANTED) is not None  # and remembered

    for cut in (nested(len(item) + 8), nested(len(item))[:-4], nested(len(item) - 2) + raw[at:]):
        assert _said(scan_header, cut, EXPLICIT) == _said(read_header, cut, EXPLICIT)


def _element(tag: bytes, vr: bytes, value: bytes) -> bytes:
    if vr in (b"UT", b"SQ"):
        return tag + vr + b"\0\0" + len(value).to_bytes(4, "little") + value
    return tag + vr + len(value).to_bytes(2, "little") + value


def _item(*elements: bytes) -> bytes:
    content = b"".join(elements)
    return b"\xfe\xff\0\xe0" + len(content).to_bytes(4, "little") + content


GBK = "胸部平扫".encode("gbk")
MEANING, CODES, COMMENTS, NAME = b"\x08\0\x04\x01", b"\x08\0\x32\x10", b"\x20\0\0\x40", b"\x10\0\x10\0"
TWICE_IN_AN_ITEM = _item(_element(MEANING, b"LO", GBK), _element(MEANING, b"LO", b"CHEST "))


@pytest.mark.parametrize(
    ("said", "where"),
    [
        (_element(CODES, b"SQ", TWICE_IN_AN_ITEM), NAME),
        (
            _element(CODES, b"SQ", _item(_element(MEANING, b"LO", GBK)))
            + _element(CODES, b"SQ", _item(_element(MEANING, b"LO", b"CHEST "))),
            NAME,
        ),
        (_element(NAME, b"PN", GBK), NAME),
        (_element(COMMENTS, b"UT", GBK + b" " * (70 << 10)), b"\x28\0\x02\0"),
        (_element(COMMENTS, b"UT", b" " * (63 << 10) + GBK), b"\x28\0\x02\0"),
        (_element(b"\xfc\xff\xfc\xff", b"SQ", _item(_element(MEANING, b"LO", GBK))), None),
    ],
    ids=["twice in an item", "a sequence twice", "a name twice", "too long", "late", "behind the pixels"],
)
def test_the_same_text_is_evidence_of_the_character_set_either_way(said, where):
    dataset = a_dataset(patient_name="ZHANG^SAN")
    del dataset.SpecificCharacterSet
    raw = bytes_of(dataset)
    at = raw.index(where) if where else len(raw)

    whole = raw[:at] + said + raw[at:]

    assert _said(scan_header, whole, EXPLICIT) == _said(read_header, whole, EXPLICIT)
    evidence = read_header(whole, EXPLICIT).charset_evidence
    assert (evidence == "GB18030") == (where is not None and len(said) < 70 << 10)
