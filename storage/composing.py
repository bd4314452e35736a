"""A corrected dataset on its way out: a header composed anew, and everything else copied as it is stored.

Only what an overlay replaces is written; what stands between is passed on byte for byte, pixels unopened and
in pieces. The stored object is read, never changed.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, BinaryIO

from storage.attributes import Encoding, encoding_of, read_as, text_values, to_dicom_json
from storage.charsets import ASCII, GB18030, UTF_8, decode_as, encode_for
from storage.elements import EXPLICIT_BIG, PIXELS, TEXT, UNDEFINED, Walked, dictionary_vr, walk
from storage.encoding import encode_elements
from storage.objects import ObjectStore, filled
from storage.overlays import (
    MODIFIED_ATTRIBUTES,
    ORIGINAL_ATTRIBUTES,
    SPECIFIC_CHARACTER_SET,
    Overlay,
    circumstances,
    replaced,
)
from storage.places import BytesDataset, Dataset, OpenDataset, Span, Unreadable, Walk, open_dataset
from storage.rejections import InstanceRejected
from storage.windows import DEFLATED

__all__ = ["Composed", "Unreadable", "compose", "compose_stored"]

EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
_CHARSET, _ORIGINAL, _MODIFIED = (
    int(tag, 16) for tag in (SPECIFIC_CHARACTER_SET, ORIGINAL_ATTRIBUTES, MODIFIED_ATTRIBUTES)
)
LONGEST = {True: 65_534, False: 1 << 20}  # text values written anew; a length of two bytes holds no more
Piece = bytes | tuple[int, int]  # written anew, or from where to where in the stored dataset


class Composed(io.RawIOBase):
    """A dataset made of pieces, to be read from its beginning to its end. Close it."""

    def __init__(self, dataset: OpenDataset, pieces: Sequence[Piece]) -> None:
        self._dataset = dataset
        self._pieces = iter(pieces)
        self._at, self._end = 0, 0  # of the stored part that is being read
        self._held = memoryview(b"")
        self.length = sum(len(one) if isinstance(one, bytes) else one[1] - one[0] for one in pieces)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        while not self._held and self._at >= self._end:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            if isinstance(piece, bytes):
                self._held = memoryview(piece)
            else:
                self._at, self._end = piece
        if not self._held:
            self._held = memoryview(self._dataset.read(self._at, min(len(view), self._end - self._at)))
            self._at += len(self._held)
            if not self._held:
                raise Unreadable("the object is shorter than it should be")
        count = min(len(view), len(self._held))
        view[:count] = self._held[:count]
        self._held = self._held[count:]
        return count

    def read_into(self, pieces: Sequence[memoryview]) -> int:
        """Fill one piece after the other with what comes next; how many bytes that were."""
        return filled(pieces, self)  # type: ignore[arg-type]

    def close(self) -> None:
        if not self.closed:
            self._dataset.close()
        super().close()


def compose_stored(
    objects: ObjectStore, key: str, *, size: int, offset: int, transfer_syntax_uid: str, overlay: Overlay
) -> Composed | None:
    """The dataset of a stored object as it leaves; None where nothing in it was wrong.

    Raises ObjectMissing, Unreadable.
    """
    dataset = open_dataset(objects, key, size=size, offset=offset, transfer_syntax_uid=transfer_syntax_uid)
    try:
        composed = compose(dataset, transfer_syntax_uid, overlay)
    except BaseException:
        dataset.close()
        raise
    if composed is None:
        dataset.close()
    return composed


def compose(dataset: OpenDataset, transfer_syntax_uid: str, overlay: Overlay) -> Composed | None:
    """The dataset (inflated where it is deflated) as it leaves, in its transfer syntax; None: as it is.

    Raises Unreadable.
    """
    is_deflated = transfer_syntax_uid == DEFLATED
    try:
        pieces = _Composition(dataset, EXPLICIT_LITTLE if is_deflated else transfer_syntax_uid).of(overlay)
    except InstanceRejected as error:
        raise Unreadable(str(error)) from None
    if pieces is None:
        return None
    composed = Composed(dataset, pieces)
    return _deflated(composed) if is_deflated else composed


def _deflated(composed: Composed) -> Composed:
    squeezer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    with composed:
        squeezed = b"".join([squeezer.compress(chunk) for chunk in iter(lambda: composed.read(1 << 20), b"")])
    squeezed += squeezer.flush()
    squeezed += bytes(len(squeezed) % 2)  # PS3.5 A.5
    return Composed(BytesDataset(squeezed), [(0, len(squeezed))])


@dataclass(frozen=True)
class _Writing:
    """How text is written in what leaves."""

    charset: str  # for what is new
    declared: list[str] | None = None  # another Specific Character Set; None: the one that stands
    is_anew: bool = False  # all other text is written anew too


class _Composition:
    def __init__(self, dataset: Dataset, transfer_syntax_uid: str) -> None:
        self._dataset = dataset
        self._walk = Walk(dataset, transfer_syntax_uid)
        self._is_implicit = not self._walk.is_explicit
        spans = []
        self._head_end = dataset.length
        for span in self._walk.elements(0, dataset.length, self._walk.is_explicit):
            if span.tag in PIXELS:
                self._head_end = span.begin
                break
            spans.append(span)
        self._spans = spans
        head = _Head(dataset, self._head_end)
        is_big = transfer_syntax_uid == EXPLICIT_BIG
        self._walked = walk(head, EXPLICIT_BIG if is_big else transfer_syntax_uid)

    def of(self, overlay: Overlay) -> list[Piece] | None:
        walked = self._walked
        encoding = read_as(encoding_of(walked), overlay.charset)
        looked_at = {int(tag, 16) for tag in overlay.values} | {int(tag, 16) for tag in overlay.removed}
        looked_at |= {0x00200060, 0x00200062}
        elements = {tag: element for tag, element in walked.elements.items() if tag in looked_at}
        new = replaced(to_dicom_json(elements, encoding), overlay)
        writing = _writing(new, encoding, walked, is_found=overlay.charset is not None)
        if writing.declared is not None:
            new[SPECIFIC_CHARACTER_SET] = {"vr": "CS", "Value": writing.declared}
        if not new:
            return None
        out = {
            int(tag, 16): b"" if element is None else self._encoded({tag: element}, writing.charset)
            for tag, element in new.items()
        }
        item = self._original(new, encoding, overlay, is_other_charset=writing.declared is not None)
        out[_ORIGINAL] = self._sequence(_ORIGINAL, self._items_before(encoding, writing) + _item(item, self))
        return self._spliced(out, encoding, writing)

    def _spliced(self, out: dict[int, bytes], encoding: Encoding, writing: _Writing) -> list[Piece]:
        pieces: list[Piece] = []
        waiting = sorted(out)
        for span in self._spans:
            while waiting and waiting[0] < span.tag:
                pieces.append(out[waiting.pop(0)])
            if span.tag in out:
                if span.tag in waiting:
                    waiting.remove(span.tag)
                    pieces.append(out[span.tag])
            elif not span.tag & 0xFFFF:
                continue  # group lengths (PS3.5 7.2) would be wrong now, and are retired
            elif writing.is_anew and (anew := self._anew(span, encoding, self._walk.is_explicit)) is not None:
                pieces.append(anew)
            elif pieces and isinstance(pieces[-1], tuple) and pieces[-1][1] == span.begin:
                pieces[-1] = (pieces[-1][0], span.end)
            else:
                pieces.append((span.begin, span.end))
        pieces += [out[tag] for tag in waiting]
        return [*pieces, (self._head_end, self._dataset.length)]

    def _original(
        self,
        new: Mapping[str, dict[str, Any] | None],
        encoding: Encoding,
        overlay: Overlay,
        *,
        is_other_charset: bool,
    ) -> bytes:
        """The item that says what was replaced, as it was sent: its bytes, in the set they claim."""
        before: dict[int, bytes] = {}
        for tag, element in new.items():
            if element is not None:
                before[int(tag, 16)] = self._encoded({tag: {"vr": element["vr"]}}, "")
        for span in self._spans:
            if f"{span.tag:08X}" in new:
                before[span.tag] = self._dataset.read(span.begin, span.end - span.begin)
        if is_other_charset and not encoding.declared and encoding.used != ASCII:
            # Nothing was declared; without a word the item would be read as the new declaration says.
            term = {"vr": "CS", "Value": [encoding.used.split("\\")[-1]]}
            before[_CHARSET] = self._encoded({SPECIFIC_CHARACTER_SET: term}, "")
        replaced_ = b"".join(before[tag] for tag in sorted(before))
        return self._sequence(_MODIFIED, _item(replaced_, self)) + self._encoded(circumstances(overlay), "")

    def _items_before(self, encoding: Encoding, writing: _Writing) -> bytes:
        """The items that say what others had replaced earlier."""
        for span in self._spans:
            if span.tag == _ORIGINAL:
                anew = self._anew(span, encoding, self._walk.is_explicit) if writing.is_anew else None
                if anew is not None:
                    return anew[8 if self._is_implicit else 12 :]
                end = span.end if span.length != UNDEFINED else span.end - 8
                return self._dataset.read(span.value_at, end - span.value_at)
        return b""

    def _anew(self, span: Span, encoding: Encoding, explicit: bool) -> bytes | None:
        """The element with its text written in UTF-8; None where that changes nothing."""
        vr = span.vr if explicit else dictionary_vr(span.tag)
        if vr in TEXT and span.length != UNDEFINED:
            raw = self._dataset.read(span.value_at, span.length)
            if raw.isascii() and b"\x1b" not in raw:
                return None
            text = decode_as(raw, encoding.used, encoding.declared).encode()[: LONGEST[explicit]]
            text += b" " * (len(text) % 2)
            return self._element(span.tag, vr, text, explicit)
        if vr != "SQ":
            return None
        items, is_changed = [], False
        for begin, end in self._walk.items(span, explicit):
            inner = list(self._walk.elements(begin, end, explicit))
            # An item with a character set of its own stays as it is (PS3.3 C.12.1.1.2).
            own = any(one.tag == _CHARSET for one in inner)
            parts = []
            for one in inner:
                anew = None if own else self._anew(one, encoding, explicit)
                is_changed = is_changed or anew is not None
                parts.append(anew or self._dataset.read(one.begin, one.end - one.begin))
            items.append(_item(b"".join(parts), self))
        return self._sequence(span.tag, b"".join(items)) if is_changed else None

    def _encoded(self, attributes: Mapping[str, Any], charset: str) -> bytes:
        return encode_elements(attributes, charset, self._is_implicit, self._walk.order)

    def _sequence(self, tag: int, items: bytes) -> bytes:
        return self._element(tag, "SQ", items, not self._is_implicit)

    def _element(self, tag: int, vr: str, value: bytes, explicit: bool) -> bytes:
        name = f"{tag:08X}"
        # The head of an empty element of its kind, with its length put in.
        head = encode_elements({name: {"vr": vr}}, "", not explicit, self._walk.order)
        width = 2 if explicit and len(head) == 8 else 4
        order = "little" if self._walk.order == "<" else "big"
        return head[:-width] + len(value).to_bytes(width, order) + value  # type: ignore[arg-type]


def _item(content: bytes, composition: _Composition) -> bytes:
    order = composition._walk.order
    words = (0xFFFE, 0xE000)
    head = b"".join(word.to_bytes(2, "little" if order == "<" else "big") for word in words)
    return head + len(content).to_bytes(4, "little" if order == "<" else "big") + content


def _writing(
    new: Mapping[str, dict[str, Any] | None], encoding: Encoding, walked: Walked, *, is_found: bool
) -> _Writing:
    """The declared character set where it tells the truth and can hold what is new; else one that can."""
    text = "".join(_texts([element for element in new.values() if element is not None]))
    declared, used = encoding.declared, encoding.used
    is_loud = any(not raw.isascii() or b"\x1b" in raw for raw in _raw_texts(walked))
    is_true = not (is_found and encoding.is_guess and is_loud)
    if text.isascii() and is_true:
        return _Writing("")
    if is_true and not encoding.is_guess and declared:
        term = declared[-1]
        if decode_as(encode_for(text, term), used if is_loud else term, declared) == text:
            return _Writing(term)
    if not is_loud:
        return _Writing(UTF_8, [UTF_8])
    if used in (GB18030, UTF_8):
        return _Writing(used, [used] if declared != (used,) else None)
    return _Writing(UTF_8, [UTF_8], is_anew=True)


def _raw_texts(walked: Walked) -> Iterator[bytes]:
    return chain(text_values(walked.elements), walked.texts)


def _texts(elements: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for element in elements:
        for value in element.get("Value", ()):
            yield from value.values() if isinstance(value, Mapping) else [str(value)]


class _Head(io.RawIOBase, BinaryIO):
    """The beginning of a dataset as a file."""

    def __init__(self, dataset: Dataset, end: int) -> None:
        self._dataset, self._end, self._at = dataset, end, 0

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._end}[whence]
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._end - self._at)
        data = self._dataset.read(self._at, left if size is None or size < 0 else min(size, left))
        self._at += len(data)
        return data
