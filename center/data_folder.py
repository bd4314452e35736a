"""The data folder belongs to one centre at a time; the kernel keeps the lock, so a crash frees it."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from center.complaints import Complaint

# After kill -9 of the supervisor its children end within a second, and with them the lock.
PATIENCE_SECONDS = 2.0


class DataFolderTaken(Complaint):
    """Another centre is running on this data folder."""


def hold(data: Path, *, shared: bool = False, patience: float = PATIENCE_SECONDS) -> int:
    """Lock the data folder until this descriptor (and every inherited copy) is closed; return it.

    `serve` takes it alone; single roles share it with each other. Raises DataFolderTaken.
    """
    descriptor = os.open(data / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise DataFolderTaken(
                    f"another centre is running on the data folder {data}; "
                    "stop it, or choose another folder with --data"
                ) from None
            time.sleep(0.05)
