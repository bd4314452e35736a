"""What reads a stranger's bytes and keeps nothing: each raises what it promises, and nothing else."""

from __future__ import annotations

import dataclasses
import io
import json
import socket
import struct
import tempfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from types import SimpleNamespace

from pydicom import dcmread
from pydicom.data import get_testdata_file
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.presentation import build_context

from dicom_node.command_set import read_command, response
from dicom_node.gatekeeper import titles
from dicom_node.line import Line, PeerGone
from dicom_node.messages import Messages
from dicom_node.own_proposal import association_request, plans_for, read_acceptance
from dicom_node.proposal import acceptance, agree, read_storage_proposal
from storage import charsets
from storage.attributes import encoding_of, to_dicom_json
from storage.elements import EXPLICIT_BIG, IMPLICIT_LITTLE, walk
from storage.encoding import encode
from storage.headers import Header, read_header, scan_header
from storage.part10 import meta_bytes, read_meta
from storage.rejections import InstanceRejected
from storage.windows import DEFLATED
from tests.fuzzing import conversations
from tests.fuzzing.mutation import mutated

EXPLICIT = "1.2.840.10008.1.2.1"
JPEG_LS = "1.2.840.10008.1.2.4.80"
FILES = (
    "CT_small.dcm", "MR_small.dcm", "waveform_ecg.dcm", "JPEG2000.dcm", "nested_priv_SQ.dcm",
    "MR_small_implicit.dcm",
    "MR_small_bigendian.dcm", "rtplan.dcm", "test-SR.dcm", "UN_sequence.dcm", "priv_SQ.dcm", "image_dfl.dcm",
)  # fmt: skip
NAMES = (
    "ZHANG^SAN=张^三", "李^四", "欧阳^修=OUYANG^XIU", "单^于", "Müller^Jörg",
    "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "홍^길동", "Люкceмбypг", "قباني", "",
)  # fmt: skip
TERMS = (*charsets.CODECS, "ISO 2022 IR 58", "ISO 2022 IR 87", "ISO 2022 IR 149", "ISO_IR 999", "utf-8", "\\")


@cache
def datasets() -> dict[str, list[bytes]]:
    """Real datasets by transfer syntax: pydicom's own small files, and two of the tests' own."""
    found: dict[str, list[bytes]] = {
        EXPLICIT: [conversations.picture(one, "1.2.3.4") for one in ("CT", "ECG")]
    }
    for name in FILES:
        path = get_testdata_file(name, download=False)
        if path is None:
            continue
        raw = Path(str(path)).read_bytes()
        meta = dcmread(str(path), stop_before_pixels=True, specific_tags=[]).file_meta
        start = 144 + int(meta.FileMetaInformationGroupLength)
        # Pixels are passed over: a hundred kilobytes of them only make the run longer.
        found.setdefault(str(meta.TransferSyntaxUID), []).append(raw[start : start + 100_000])
    found[DEFLATED] = [_deflated(raw) for raw in found[EXPLICIT][:2]]
    return found


def a_header(random: Random) -> None:
    """`read_header` from memory and from a file, and everything that a header is asked for afterwards."""
    raw, syntax = _harmed_dataset(random)
    try:
        header = read_header(raw, syntax)
    except InstanceRejected:
        return
    _use(header)
    if syntax != DEFLATED:
        assert read_header(io.BytesIO(raw), syntax) == header


def a_scan(random: Random) -> None:
    """The short way reads what the long way reads, or both refuse with the same words."""
    raw, syntax = _harmed_dataset(random)

    def said(read: Callable[[bytes, str], Header]) -> object:
        try:
            header = read(raw, syntax)
        except InstanceRejected as rejected:
            return str(rejected)
        kept = {field.name for field in dataclasses.fields(header)} - {"walked", "encoding", "scanned"}
        return {name: getattr(header, name) for name in kept}

    assert said(scan_header) == said(read_header)


def an_identifier(random: Random) -> None:
    """A query's dataset becomes DICOM JSON and is written again, as an answer is."""
    raw, syntax = _harmed_dataset(random, most=4000)
    try:
        walked = walk(raw, syntax)
    except InstanceRejected:
        return
    said = to_dicom_json(walked.elements, encoding_of(walked))
    json.dumps(said, allow_nan=False)
    encode(said, charset=random.choice(("GB18030", "ISO_IR 192", "ISO 2022 IR 58", "ISO_IR 100")))


def some_text(random: Random) -> None:
    """Any bytes under any declaration become text that a page and a log can bear."""
    codecs = ("gb18030", "utf_8", "latin_1", "iso2022_jp_2", "euc_kr", "gbk", "ascii")
    originals = [random.choice(NAMES).encode(random.choice(codecs), "ignore") for _ in range(4)]
    raw = mutated(random, originals)[: random.choice((64, 64, 5000))]
    declared = tuple(random.choice(TERMS) for _ in range(random.randrange(4)))
    decoded = charsets.decode_text(raw, declared)
    assert "\x1b" not in decoded.text and "\0" not in decoded.text
    decoded.text.encode("utf-8")
    charsets.encode_for(decoded.text, random.choice(TERMS))
    assert len(charsets.pinyin_tokens(decoded.text[:200])) < 2000


def a_command(random: Random) -> None:
    """A command set is one, or ValueError; what answers it can be read."""
    whole = mutated(random, conversations.commands())
    try:
        command = read_command(whole)
    except ValueError:
        return
    answer = response(command, 1, random.randrange(65536), "x" * random.randrange(64))
    assert len(answer) == 6 + struct.unpack(">L", answer[2:6])[0]
    assert read_command(answer[12:]).is_response


def a_proposal(random: Random) -> None:
    """An A-ASSOCIATE-RQ for storage is agreed with, or left to the general upper layer."""
    request = mutated(random, conversations.requests())
    assert all(title.isprintable() and title.isascii() for title in titles(request))
    proposal = read_storage_proposal(request)
    if proposal is not None:
        may = random.choice((["store"], ["find"], ["get", "store"], []))
        answer = acceptance(proposal, agree(proposal, may), maximum_length=16384)
        assert len(answer) == 6 + struct.unpack(">L", answer[2:6])[0]


def a_message(random: Random) -> None:
    """Fragments make messages of the general upper layer, or ValueError."""
    contexts = {number: build_context(uid) for number, uid in conversations.CONTEXTS.items()}
    for number, context in contexts.items():
        context.context_id = number
    messages = Messages(SimpleNamespace(_accepted_cx=contexts), Path(tempfile.gettempdir()))
    try:
        for _ in range(random.randrange(1, 4)):
            fragments = P_DATA()
            for _ in range(random.randrange(1, 4)):
                control = random.choice((0, 1, 2, 3, 3, 3, random.randrange(256)))
                piece = bytes([control]) + mutated(random, conversations.commands())
                context_id = random.choice((*contexts, random.randrange(256)))
                fragments.presentation_data_value_list.append((context_id, piece))
            messages.receive_primitive(fragments)
    except ValueError:
        pass
    finally:
        messages.discard()


def an_object(random: Random) -> None:
    """What an object in the store says about itself is read, or is nothing."""
    heads = [meta_bytes("1.2.3", "1.2.3.4", EXPLICIT, "T01_CT") + bytes(600), *datasets()[EXPLICIT][:1]]
    read_meta(mutated(random, heads))


def an_answer(random: Random) -> None:
    """What a peer answers to our own association and our images is understood, or ends it."""
    (plan,) = plans_for([("1.2.840.10008.5.1.4.1.1.2", EXPLICIT)])
    request = association_request(called="A", calling="B", contexts=plan.contexts, maximum_length=0)
    proposal = read_storage_proposal(request)
    assert proposal is not None
    accepted = acceptance(proposal, agree(proposal, ["store"]), maximum_length=16384)
    read = read_acceptance(mutated(random, [accepted, request]), plan.contexts)
    assert read is None or all(one.context_id in (1, 3) for one in read.contexts)
    command = read_command(conversations.commands()[0])
    answers = [response(command, 1, random.randrange(65536)) for _ in range(3)]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(mutated(random, answers)[:60_000])
        theirs.shutdown(socket.SHUT_WR)
        line = Line(ours, stray=random.choice((None, lambda *fragment: None)))
        try:
            while True:
                line.hear(patience=1)
        except PeerGone:
            pass


READERS: dict[str, Callable[[Random], None]] = {
    "header": a_header,
    "scan": a_scan,
    "identifier": an_identifier,
    "charset": some_text,
    "command": a_command,
    "proposal": a_proposal,
    "message": a_message,
    "object": an_object,
    "answer": an_answer,
}


def _harmed_dataset(random: Random, most: int = 1 << 20) -> tuple[bytes, str]:
    found = datasets()
    syntax = random.choice((*found, EXPLICIT, EXPLICIT, IMPLICIT_LITTLE))
    if syntax == DEFLATED and random.random() < 0.7:
        raw = _deflated(mutated(random, found[EXPLICIT])[:200_000])
    else:
        raw = mutated(random, [one[:most] for one in found[syntax]])
    if random.random() < 0.1:
        syntax = random.choice((EXPLICIT, IMPLICIT_LITTLE, EXPLICIT_BIG, JPEG_LS, DEFLATED))
    return raw, syntax


def _use(header: Header) -> None:
    json.dumps(header.attributes, allow_nan=False)
    assert "\x1b" not in json.dumps(header.attributes, ensure_ascii=False)
    charsets.pinyin_tokens(header.patient_name)
    header.study_moment  # noqa: B018


def _deflated(raw: bytes) -> bytes:
    packer = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    return packer.compress(raw) + packer.flush()
