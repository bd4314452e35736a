"""Unique identifiers: what a valid one looks like, and new ones of our own."""

from __future__ import annotations

import hashlib
import re
import uuid

# PS3.5 9.1: components of digits, at most 64 characters in all. It forbids leading zeros; devices that build
# UIDs from a time of day write them all the same, and nothing depends on it.
_UID = re.compile(r"\d+(?:\.\d+)+", re.ASCII)


def is_uid(text: str) -> bool:
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def new_uid() -> str:
    """A UID under 2.25, from a random UUID (PS3.5 B.2): unique without a registered root."""
    return f"2.25.{uuid.uuid4().int}"


def derived_uid(*words: str) -> str:
    """The same UID for the same words, so that sending an artefact twice is sending it once."""
    digest = hashlib.sha256("\x1f".join(words).encode()).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"
