"""The township's archive: a storage SCP that keeps the signed reports that come home."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import structlog
from pynetdicom import AE, AllStoragePresentationContexts, evt

from center import logs
from center.demo import county
from center.demo.processes import die_with_parent
from storage.uids import is_uid

logger = structlog.get_logger("demo")

OUT_OF_RESOURCES, CANNOT_UNDERSTAND = 0xA700, 0xC000


def keep(event: Any, folder: Path) -> int:
    """Write what came as a PS3.10 file named by its UID, whole or not at all; the C-STORE status."""
    uid = str(event.request.AffectedSOPInstanceUID)
    if not is_uid(uid):
        return CANNOT_UNDERSTAND
    path = folder / f"{uid}.dcm"
    unfinished = path.with_suffix(".part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            file.write(event.encoded_dataset())
        unfinished.replace(path)
    except OSError:
        return OUT_OF_RESOURCES
    return 0


def receive(ae_title: str, port: int, folder: Path) -> Any:
    """A running server on 127.0.0.1 (port 0: any free one). OSError where the port is taken."""
    entity = AE(ae_title=ae_title)
    entity.supported_contexts = AllStoragePresentationContexts
    entity.add_supported_context("1.2.840.10008.1.1")  # Verification
    entity.require_called_aet = True
    return entity.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, keep, [folder])]
    )


def main() -> int:
    die_with_parent()
    logs.configure("demo")
    parser = argparse.ArgumentParser(prog="center.demo.report_receiver", description=__doc__)
    parser.add_argument("ae_title")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    device = county.devices()[arguments.ae_title]
    try:
        server = receive(device.ae_title, device.port, arguments.folder)
    except OSError:
        logger.warning("no-reports-will-come-home", device=device.ae_title, taken_port=device.port)
        return 1
    ended.wait()
    server.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
