"""What disks do to objects: a byte turns, the end is lost, the whole is gone; in a folder and in S3."""

from __future__ import annotations

import io

from storage.objects import FolderStore, ObjectStore


def flip_a_byte(objects: ObjectStore, key: str, at: int = -10) -> None:
    """One bit of the byte at `at` is another one now."""
    whole = bytearray(objects.get(key))
    whole[at] ^= 1
    rewrite(objects, key, bytes(whole))


def rewrite(objects: ObjectStore, key: str, content: bytes) -> None:
    """Other bytes under the same key, as no part of the product would ever write them."""
    if isinstance(objects, FolderStore):
        path = objects.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    else:
        objects.put(key, io.BytesIO(content), len(content))
