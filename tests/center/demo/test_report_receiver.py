"""The township archive keeps what is sent to it, and nothing under a name of the sender."""

from pathlib import Path

from pydicom import dcmread
from pynetdicom import AE

from center.demo.phantoms.electrocardiogram import TWELVE_LEAD_ECG, electrocardiogram
from center.demo.report_receiver import receive
from tests.center.demo.people import exam


def test_a_report_that_comes_home_is_kept_as_a_file(tmp_path: Path) -> None:
    server = receive("T01_PACS", 0, tmp_path)
    sent = electrocardiogram(exam())
    try:
        entity = AE(ae_title="READINGCENTER")
        entity.add_requested_context(TWELVE_LEAD_ECG, sent.file_meta.TransferSyntaxUID)
        port = server.server_address[1]
        association = entity.associate("127.0.0.1", port, ae_title="T01_PACS")
        status = association.send_c_store(sent)
        association.release()
    finally:
        server.shutdown()

    assert status.Status == 0
    kept = list(tmp_path.iterdir())
    assert [path.name for path in kept] == [f"{sent.SOPInstanceUID}.dcm"]
    assert dcmread(kept[0]).WaveformSequence == sent.WaveformSequence
