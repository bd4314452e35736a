"""A DICOM file put into a folder store, and everything that drawing it takes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reading_portal.frames import StoredPixels, describe_pixels, find_frames, read_frame
from reading_portal.grayscale import Window
from reading_portal.part10 import read_meta
from reading_portal.rendering import draw_frame
from storage.headers import Header, read_header
from storage.objects import FolderStore, new_key
from storage.places import locate, open_dataset


@dataclass
class StoredFile:
    objects: FolderStore
    pixels: StoredPixels
    header: Header

    @property
    def attributes(self) -> dict[str, Any]:
        return self.header.attributes

    def frame(self, number: int = 1) -> bytes:
        return read_frame(self.objects, self.pixels, find_frames(self.objects, self.pixels), number)

    def drawn(self, number: int = 1, window: Window | None = None) -> NDArray[np.uint8]:
        syntax = self.pixels.served_transfer_syntax_uid
        return draw_frame(
            self.frame(number), syntax, self.attributes, frame=number, bulk=self.bulk, window=window
        )

    def bulk(self, path: tuple[int, ...]) -> bytes | None:
        pixels = self.pixels
        dataset = open_dataset(
            self.objects,
            pixels.key,
            size=pixels.size,
            offset=pixels.offset,
            transfer_syntax_uid=pixels.transfer_syntax_uid,
        )
        place = locate(dataset, pixels.transfer_syntax_uid, path)
        data = dataset.read(place.at, place.length) if place is not None and place.length else None
        dataset.close()
        return data


def stored(file: bytes, folder: Path) -> StoredFile:
    """Keep the file and read its header; raises InstanceRejected for what the archive would not take."""
    objects = FolderStore(folder)
    key = new_key("instances")
    meta, transfer_syntax_uid = read_meta(io.BytesIO(file))
    header = read_header(file[len(meta) :], transfer_syntax_uid)
    objects.put(key, io.BytesIO(file), len(file))
    pixels = describe_pixels(
        header.attributes,
        key=key,
        size=len(file),
        offset=len(meta),
        transfer_syntax_uid=transfer_syntax_uid,
        number_of_frames=header.number_of_frames,
    )
    return StoredFile(objects, pixels, header)
