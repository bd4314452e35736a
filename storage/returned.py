"""Our own reports when they come back: an archive that has them may send them on, encoded as it pleases.

Encoded otherwise they are the same words, the same document and no conflict for a person to decide on.
Anything else under the name of a report of ours is kept aside like any second content.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, BinaryIO

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from sqlalchemy import select

from storage.database import Database
from storage.headers import Header
from storage.imaging import Instance, Origin
from storage.objects import ObjectStore

# What a report of ours is (PS3.3 C.7.3.1.1.1): an Encapsulated PDF, a structured report.
OURS = ("DOC", "SR")
LITTLE = {"1.2.840.10008.1.2": True, "1.2.840.10008.1.2.1": False}


def is_our_own(
    database: Database,
    objects: ObjectStore,
    header: Header,
    reading: Callable[[], AbstractContextManager[BinaryIO]],
) -> bool:
    """Whether the dataset that `reading` opens says the same as an object of ours; a quick no for images."""
    if header.modality not in OURS or header.transfer_syntax_uid not in LITTLE:
        return False
    with database.reading() as session:
        key = session.scalar(
            select(Instance.object_key).where(
                Instance.sop_instance_uid == header.sop_instance_uid, Instance.origin == Origin.MADE
            )
        )
    if key is None:
        return False
    try:
        ours = dcmread(io.BytesIO(objects.get(key)))
        implicit = LITTLE[header.transfer_syntax_uid]
        with reading() as dataset:
            theirs = read_dataset(io.BytesIO(dataset.read()), implicit, True)
        return bool(_words(ours) == _words(theirs))
    except Exception:  # what pydicom cannot read is not ours
        return False


def _words(dataset: Dataset) -> Any:
    """Every element but group lengths and padding, whatever the encoding."""
    return [
        (
            int(element.tag),
            [_words(item) for item in element.value] if element.VR == "SQ" else _value(element),
        )
        for element in dataset
        if element.tag.element and element.tag != 0xFFFCFFFC
    ]


def _value(element: Any) -> Any:
    value = element.value
    return value.rstrip(b"\0") if isinstance(value, bytes) else str(value or "")
