"""multipart/related and the Accept header: what is written can be read, and what is broken is told."""

import email
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reading_portal.decoding import ROOT
from reading_portal.frames import EXPLICIT_LITTLE
from reading_portal.multipart import BadMultipart, MultipartWriter, OutgoingPart, read_parts
from reading_portal.negotiation import best_media_type, choices
from reading_portal.recoding import choose_encoding

J2K = f"{ROOT}.4.90"


def written(bodies: list[bytes]) -> tuple[bytes, MultipartWriter]:
    writer = MultipartWriter([OutgoingPart("application/dicom", len(body), [body]) for body in bodies])
    return b"".join(writer), writer


def bodies_in(body: bytes, boundary: str) -> list[bytes]:
    spool = io.BytesIO(body)
    return [body[part.begin : part.end] for part in read_parts(spool, boundary)]


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_what_is_written_is_read_again_byte_by_byte(bodies: list[bytes]) -> None:
    body, writer = written(bodies)

    assert len(body) == writer.length
    assert bodies_in(body, writer.boundary) == bodies


def test_another_reader_understands_it() -> None:
    body, writer = written([b"one", b"two\r\n"])
    head = f"Content-Type: {writer.content_type('application/dicom')}\r\n\r\n".encode()

    message = email.message_from_bytes(head + body)

    assert [part.get_payload(decode=True) for part in message.get_payload()] == [b"one", b"two\r\n"]  # type: ignore[union-attr]
    assert [part.get_content_type() for part in message.get_payload()] == ["application/dicom"] * 2  # type: ignore[union-attr]


def test_parts_of_unknown_length_are_streamed_without_one() -> None:
    writer = MultipartWriter([OutgoingPart("image/jls", None, iter([b"a", b"b"]))])

    assert writer.length is None
    assert bodies_in(b"".join(writer), writer.boundary) == [b"ab"]


def test_a_boundary_at_the_edge_of_a_piece_is_found() -> None:
    for size in range((1 << 20) - 80, (1 << 20) + 8, 3):
        body, writer = written([b"x" * size, b"--part"])
        assert [len(one) for one in bodies_in(body, writer.boundary)] == [size, 6]


def test_a_preamble_and_bare_line_ends_are_understood() -> None:
    body = b"for people\r\n--b\nContent-Type: application/dicom\n\nbody\r\n--b--\r\nepilogue"
    assert bodies_in(body, "b") == [b"body"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nothing here",
        b"--b\r\n\r\nnever ends",
        b"--bc\r\n\r\nx\r\n--bc--",
        b"--b\r\nContent-Type: application/dicom",
        b"--b\r\n" + b"X: y\r\n" * 4000 + b"\r\n\r\n--b--",
    ],
)
def test_a_broken_body_is_told(body: bytes) -> None:
    with pytest.raises(BadMultipart):
        bodies_in(body, "b")


@given(st.binary(max_size=300), st.text(alphabet="ab-", min_size=1, max_size=5))
def test_no_body_makes_the_reader_fail_otherwise(body: bytes, boundary: str) -> None:
    try:
        bodies_in(body, boundary)
    except BadMultipart as error:
        assert str(error)


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, "application/dicom+json"),
        ("*/*", "application/dicom+json"),
        ("application/json", "application/json"),
        ("text/html, application/*;q=0.3", "application/dicom+json"),
        ("application/json;q=0.2, application/dicom+json;q=0.9", "application/dicom+json"),
        ("application/dicom+json;q=0, application/json", "application/json"),
        ("text/html", None),
        ('multipart/related; type="application/dicom+xml"', None),
        ("nonsense", None),
    ],
)
def test_the_client_gets_the_type_that_it_likes_best(accept: str | None, chosen: str | None) -> None:
    assert best_media_type(accept, ("application/dicom+json", "application/json")) == chosen


OCTETS = "application/octet-stream"


@pytest.mark.parametrize(
    ("accept", "served", "expected"),
    [
        (None, EXPLICIT_LITTLE, (EXPLICIT_LITTLE, OCTETS, True)),
        ("*/*", J2K, (J2K, OCTETS, True)),
        (f'multipart/related; type="{OCTETS}"; transfer-syntax=*', J2K, (J2K, OCTETS, True)),
        (f"multipart/related; type={OCTETS}", J2K, (EXPLICIT_LITTLE, OCTETS, True)),
        ('multipart/related; type="image/jp2"', J2K, (J2K, "image/jp2", True)),
        ("image/jp2; transfer-syntax=*", J2K, (J2K, "image/jp2", False)),
        ("image/jp2", EXPLICIT_LITTLE, None),
        (f"image/jls, {OCTETS};q=0.1", EXPLICIT_LITTLE, (f"{ROOT}.4.80", "image/jls", False)),
        (f"{OCTETS}; transfer-syntax={ROOT}.4.202, {OCTETS}; transfer-syntax=*", J2K, (J2K, OCTETS, False)),
        (
            f"{OCTETS}; transfer-syntax={ROOT}.4.202, {OCTETS}; transfer-syntax=*",
            EXPLICIT_LITTLE,
            (f"{ROOT}.4.202", OCTETS, False),
        ),
        (
            f"image/jphc; transfer-syntax={ROOT}.4.201",
            EXPLICIT_LITTLE,
            (f"{ROOT}.4.201", "image/jphc", False),
        ),
        ("text/html", EXPLICIT_LITTLE, None),
    ],
)
def test_frames_leave_in_the_encoding_that_the_client_likes_best(
    accept: str | None, served: str, expected: tuple[str, str, bool] | None
) -> None:
    is_native = served == EXPLICIT_LITTLE
    encoding = choose_encoding(choices(accept), served=served, is_recodable=is_native)

    found = encoding and (encoding.transfer_syntax_uid, encoding.media_type, encoding.is_multipart)
    assert found == expected
