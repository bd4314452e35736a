"""The faces that printed pages use, and what they cannot print.

The font files belong to the package pylopdf-fonts-zh-cn (Noto Sans SC and Noto Serif SC, SIL OFL 1.1).
"""

from __future__ import annotations

import unicodedata
from functools import cache
from importlib.resources import files
from pathlib import Path
from threading import Lock

import typst
from fontTools.ttLib import TTFont

_PACKAGE = "pylopdf_fonts_zh_cn"
_SANS = "NotoSansSC-Regular.otf"
_LAYOUT = frozenset("\n\t\r")
# Invisible and harmless: pasted along from web pages and telephones, simply not printed.
_UNSEEN = frozenset("\u00ad\u200b\u200c\u200d\u2060\ufe0e\ufe0f\ufeff")
_reading = Lock()


def face_folder() -> Path:
    return Path(str(files(_PACKAGE)))


def faces() -> typst.Fonts:
    """The faces as typst wants them; read once for each process (100 ms)."""
    with _reading:
        return _faces()


def unprintable(text: str) -> list[str]:
    """The characters that would come out as an empty box or would reorder the line, each once, in order.

    Each is given so that a person can find it: `𠮷 (U+20BB7)`, or `U+202E RIGHT-TO-LEFT OVERRIDE` for
    what has no shape.
    """
    with _reading:
        known = _printable()
    text = unicodedata.normalize("NFC", text)
    missing = dict.fromkeys(c for c in text if ord(c) not in known and c not in _LAYOUT and c not in _UNSEEN)
    return [_say(c) for c in missing]


def spelled_out(text: str) -> str:
    """The text with every unprintable character written as its code point: `〔U+20BB7〕`.

    For names, which nobody may reword: a patient must not wait for a report until a font is found.
    """
    with _reading:
        known = _printable()
    text = unicodedata.normalize("NFC", text)
    shown = known | {ord(c) for c in _LAYOUT | _UNSEEN}
    return "".join(c if ord(c) in shown else f"〔U+{ord(c):04X}〕" for c in text)


def without_unseen(text: str) -> str:
    return "".join(c for c in text if c not in _UNSEEN)


@cache
def _faces() -> typst.Fonts:
    return typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[face_folder()])


@cache
def _printable() -> frozenset[int]:
    # The sans face sets every word, so only what it has can be printed.
    with TTFont(str(face_folder() / _SANS), lazy=True) as font:
        mapped: dict[int, str] = font.getBestCmap()
    return frozenset(code for code in mapped if unicodedata.category(chr(code)) not in {"Cc", "Cf", "Co"})


def _say(character: str) -> str:
    code = f"U+{ord(character):04X}"
    if unicodedata.category(character)[0] in "CZ":
        return f"{code} {unicodedata.name(character, 'CONTROL CHARACTER')}"
    return f"{character} ({code})"
