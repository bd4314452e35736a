"""What unfolds beyond every measure is refused by a sentence, before it has unfolded."""

import struct
import zlib
from pathlib import Path

import pytest
from sqlalchemy import func, select

from storage.imaging import Instance
from tests.dicom_node.devices import CT, a_ct, dcmtk, encoded
from tests.dicom_node.test_deadlines import FIND
from tests.dicom_node.test_storage_association import CONTEXTS, _command, _request, associated

DEFLATED = "1.2.840.10008.1.2.1.99"
GIGABYTES = 3 << 30
DEFLATING = {**CONTEXTS, 1: (CT, [DEFLATED])}
# In private data before the pixels, and as the pixels themselves.
PRIVATE, PIXELS = struct.pack("<HH2sHL", 0x0029, 0x1010, b"OB", 0, GIGABYTES), b"\xe0\x7f\x10\0OW\0\0"


def peak() -> int:
    """Bytes that this process, the node's too, has held at most since the last look."""
    status = Path("/proc/self/status").read_text()
    Path("/proc/self/clear_refs").write_text("5")
    return int(status.split("VmHWM:")[1].split()[0]) << 10


def bomb(dataset, where: bytes) -> bytes:
    """Its dataset up to there, and three gigabytes of nothing: a few megabytes on the line."""
    plain = encoded(dataset)
    head = plain[: plain.index(PIXELS)]
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    begun = packer.compress(head + where) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(16 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return begun + block * (GIGABYTES // (16 << 20)) + packer.flush()


@pytest.mark.parametrize("where", [PRIVATE, PIXELS + struct.pack("<L", GIGABYTES)], ids=["private", "pixels"])
@pytest.mark.parametrize(
    "request_pdu", [_request(DEFLATING), _request({**DEFLATING, **FIND})], ids=["ours", "pynetdicom"]
)
def test_a_deflated_bomb_is_answered_with_what_it_is_and_takes_no_memory(node, request_pdu, where):
    dataset = a_ct()
    whole = bomb(dataset, where)
    peak()

    with associated(node, request_pdu) as peer:
        peer.send((1, 3, _command(dataset)))
        for at in range(0, len(whole), 64 << 10):
            peer.send((1, 0, whole[at : at + (64 << 10)]))
        before = Path("/proc/self/statm").read_text().split()[1]
        peer.send((1, 2, b""))
        answer = peer.pdu()

    assert answer[answer.index(b"\0\0\0\x09\x02\0\0\0") + 8 :][:2] == b"\0\xc0", "cannot understand"
    assert b"the deflated dataset unfolds beyond every measure" in answer
    assert peak() - int(before) * 4096 < 100 << 20, "a header is unfolded up to 64 MB, and no further"
    with node.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Instance)) == 0
    assert dcmtk("echoscu", node=node)[0] == 0
