"""Bytes that were something once: the same seed always does the same harm to the same originals."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

HEAD = 3000  # where headers are: most harm is done here
LENGTHS = (
    b"\0\0", b"\x01\0", b"\xff\xff", b"\xfe\xff", b"\0\x80",
    b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xfe\xff\xff\xff",
    b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\0\0\x10\0", b"\0\x10\0\0", b"\x02\0\0\0", b"\0\0\0\x02",
)  # fmt: skip
TOKENS = (
    b"\xfe\xff\0\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0", b"\xfe\xff\0\xe0\xff\xff\xff\xff",
    b"SQ\0\0\xff\xff\xff\xff", b"UN\0\0", b"OB\0\0", b"UT\0\0", b"PN", b"UI", b"LO", b"??", b"\xe0\x7f\x10\0",
    b"\x08\0\x05\0CS\x0a\0ISO_IR 192", b"GB18030 ", b"\\ISO 2022 IR 58", b"\x1b$)A",
    b"\x1b$B", b"\x1b(J", b"\x1b",
    b"=", b"^", b"\\", b"\0", b"\xc4\xe3\xba\xc3", b"\xe5\xbc\xa0", b"\xff", b"1.2.840.10008.1.2",
    b"\x50\0\0\x08",
    b"\x20\0", b"\x30\0", b"\x40\0", b"\x51\0\0\x04", b"\x56\0", b"\x58\0", b"\x54\0", b"\x04\0\0\0\0\x06",
    b"\x05\0\0\0\0\x04\0\0\0\0", b"\x07\0\0\0\0\x04\0\0\0\0", b"%n", b"../", b"-1", b"99999999999999999999",
)  # fmt: skip


def mutated(random: Random, originals: Sequence[bytes]) -> bytes:
    """One of the originals, harmed in one to eight places; one time in fifty nothing but noise."""
    if random.random() < 0.02:
        return random.randbytes(random.randrange(0, 400))
    data = bytearray(random.choice(originals))
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 5, 8))):
        _harm(random, data, originals)
    return bytes(data)


def _harm(random: Random, data: bytearray, originals: Sequence[bytes]) -> None:
    at = random.randrange(min(len(data), HEAD) + 1)
    kind = random.randrange(9)
    if kind == 0 and at < len(data):
        data[at] ^= 1 << random.randrange(8)
    elif kind == 1 and at < len(data):
        data[at] = random.randrange(256)
    elif kind == 2:
        length = random.choice(LENGTHS)
        data[at : at + len(length)] = length
    elif kind == 3:
        del data[at:]
    elif kind == 4:
        del data[at : at + random.choice((1, 2, 4, 8, 40, 400))]
    elif kind == 5:
        piece = bytes(data[at : at + random.choice((1, 8, 40, 400))])
        data[at:at] = piece * random.choice((1, 1, 2, 30))
    elif kind == 6:
        data[at:at] = random.choice(TOKENS)
    elif kind == 7:
        token = random.choice(TOKENS)
        data[at : at + len(token)] = token
    else:
        other = random.choice(originals)
        begin = random.randrange(min(len(other), HEAD) + 1)
        data[at:at] = other[begin : begin + random.choice((8, 60, 400))]


def cut(random: Random, data: bytes) -> list[bytes]:
    """The same bytes in a few pieces, as a line may deliver them."""
    cuts = sorted(random.randrange(len(data) + 1) for _ in range(random.randrange(4)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if a < b]
