"""Text as it was meant: what the sender declared (PS3.3 C.12.1.1.2), what the bytes say, and the evidence.

Chinese devices declare GB18030, write GBK and declare nothing, declare ISO_IR 100 and write GBK, or switch
to GB2312 with escape sequences (ISO 2022 IR 58). The bytes are kept elsewhere; here they become readable.
"""

from __future__ import annotations

import codecs
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

ASCII = "ISO_IR 6"
UTF_8 = "ISO_IR 192"
GB18030 = "GB18030"
LATIN_1 = "ISO_IR 100"

# Defined terms without code extensions, and what vendors write instead. GB18030 contains GBK and GB2312.
CODECS = {
    "": "ascii",
    ASCII: "ascii",
    LATIN_1: "latin_1",
    "ISO_IR 101": "iso8859_2",
    "ISO_IR 109": "iso8859_3",
    "ISO_IR 110": "iso8859_4",
    "ISO_IR 144": "iso8859_5",
    "ISO_IR 127": "iso8859_6",
    "ISO_IR 126": "iso8859_7",
    "ISO_IR 138": "iso8859_8",
    "ISO_IR 148": "iso8859_9",
    "ISO_IR 203": "iso8859_15",
    "ISO_IR 166": "tis_620",
    "ISO_IR 13": "shift_jis",
    UTF_8: "utf_8",
    GB18030: "gb18030",
    "GBK": "gb18030",
    "GB2312": "gb18030",
    "ISO_IR 58": "gb18030",
    "ISO_IR 149": "euc_kr",
    "ISO_IR 87": "shift_jis",
    "ISO_IR 159": "shift_jis",
}
MULTI_BYTE = {UTF_8, GB18030, "GBK", "GB2312", "ISO_IR 58", "ISO_IR 149", "ISO_IR 87", "ISO_IR 159"}

# Escape sequence → (code element, defined term, codec): PS3.3 tables C.12-3 and C.12-4.
ESCAPES = {
    b"\x1b(B": (0, "ISO 2022 IR 6", "ascii"),
    b"\x1b(J": (0, "ISO 2022 IR 13", "ascii"),
    b"\x1b$@": (0, "ISO 2022 IR 87", "jis"),
    b"\x1b$B": (0, "ISO 2022 IR 87", "jis"),
    b"\x1b$(D": (0, "ISO 2022 IR 159", "jis"),
    b"\x1b)I": (1, "ISO 2022 IR 13", "shift_jis"),
    b"\x1b-A": (1, "ISO 2022 IR 100", "latin_1"),
    b"\x1b-B": (1, "ISO 2022 IR 101", "iso8859_2"),
    b"\x1b-C": (1, "ISO 2022 IR 109", "iso8859_3"),
    b"\x1b-D": (1, "ISO 2022 IR 110", "iso8859_4"),
    b"\x1b-L": (1, "ISO 2022 IR 144", "iso8859_5"),
    b"\x1b-G": (1, "ISO 2022 IR 127", "iso8859_6"),
    b"\x1b-F": (1, "ISO 2022 IR 126", "iso8859_7"),
    b"\x1b-H": (1, "ISO 2022 IR 138", "iso8859_8"),
    b"\x1b-M": (1, "ISO 2022 IR 148", "iso8859_9"),
    b"\x1b-b": (1, "ISO 2022 IR 203", "iso8859_15"),
    b"\x1b-T": (1, "ISO 2022 IR 166", "tis_620"),
    b"\x1b$)A": (1, "ISO 2022 IR 58", "gb18030"),
    b"\x1b$)C": (1, "ISO 2022 IR 149", "euc_kr"),
}
# Code extensions that we write: what designates them, and the codec of what follows (PS3.5 I, K).
_DESIGNATIONS = {"ISO 2022 IR 58": (b"\x1b$)A", "gb2312"), "ISO 2022 IR 149": (b"\x1b$)C", "euc_kr")}
_ESCAPE = re.compile(b"(" + b"|".join(re.escape(sequence) for sequence in ESCAPES) + b")")
_DELIMITERS = re.compile(rb"([\r\n\t\f^=\\])")
HAN = r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af〇]"
_LONGEST_TOKEN, _LONGEST_HAN = 64, 32
_HAN = re.compile(HAN)


@dataclass(frozen=True)
class Decoded:
    """Text, the term it was read by, the terms that were declared, and whether the first is our guess."""

    text: str
    used: str
    declared: tuple[str, ...]
    is_guess: bool


def decode_text(raw: bytes, declared: Sequence[str]) -> Decoded:
    """Read the bytes of one or several text values; never raises, never leaves an escape sequence behind.

    Values are separated by backslashes in the text only: in GBK a backslash may be half a character.
    """
    used, is_guess = judge_charset([raw], declared)
    return Decoded(decode_as(raw, used, declared), used, tuple(declared), is_guess)


def judge_charset(samples: Iterable[bytes], declared: Sequence[str]) -> tuple[str, bool]:
    """Which character set wrote these values of one dataset, and whether that contradicts the declaration.

    Many values together decide better than one: two Chinese characters alone may be valid UTF-8 by chance.
    """
    terms = [plain_term(term) for term in declared]
    first = next((term for term in terms if term in MULTI_BYTE), terms[0] if terms else "")
    loud = [sample for sample in samples if not sample.isascii() or b"\x1b" in sample]
    if not loud:
        return (first if first in CODECS else "") or ASCII, False
    escaped = [sample for sample in loud if _ESCAPE.search(sample)]
    if escaped:
        found = dict.fromkeys(ESCAPES[mark][1] for sample in escaped for mark in _ESCAPE.findall(sample))
        found.pop("ISO 2022 IR 6", None)
        return "\\".join(found) or ASCII, not {plain_term(term) for term in found} <= set(terms)
    if first == UTF_8:
        if _all_read(loud, "utf_8"):
            return UTF_8, False
        return (GB18030, True) if _all_read(loud, "gb18030") else (UTF_8, True)
    is_utf_8 = _is_utf_8(loud)
    if first in MULTI_BYTE and not (is_utf_8 and not _is_gb2312(loud)) and _all_read(loud, CODECS[first]):
        return (GB18030 if CODECS[first] == "gb18030" else first), any("2022" in term for term in declared)
    if first in CODECS and first not in MULTI_BYTE | {"", ASCII, LATIN_1} and _all_read(loud, CODECS[first]):
        return first, False
    if is_utf_8:
        return UTF_8, True
    if _is_chinese(loud):
        return GB18030, True
    if first == LATIN_1:
        return LATIN_1, False
    return (GB18030, True) if first in MULTI_BYTE and _all_read(loud, "gb18030") else (LATIN_1, True)


def decode_as(raw: bytes, used: str, declared: Sequence[str] = ()) -> str:
    """Read bytes by a term that `judge_charset` named; what cannot be read becomes U+FFFD, NUL vanishes."""
    if b"\x1b" in raw:
        text = _decode_escaped(raw, plain_term(declared[0]) if declared else "")
    elif raw.isascii():
        text = raw.decode("ascii")
    else:
        term = plain_term(used.split("\\")[-1])
        if "2022" in used and declared:
            term = plain_term(declared[0]) if plain_term(declared[0]) not in ("", ASCII) else term
        text = _decode_lenient(raw, CODECS.get(term, "gb18030"))
    return text.replace("\0", "")


# What devices here write, the likeliest first; the European sets read anything, each byte as a letter.
LIKELY = (GB18030, UTF_8, LATIN_1, "ISO_IR 13", "ISO_IR 149", "ISO_IR 144", "ISO_IR 101", "ISO_IR 166")


def plausible(samples: Iterable[bytes]) -> list[str]:
    """What can have written these values, the likeliest first; nothing where they are plain ASCII.

    Escape sequences say what they are: then there is nothing to choose.
    """
    loud = [sample for sample in samples if not sample.isascii()]
    if not loud or any(_ESCAPE.search(sample) for sample in loud):
        return []
    return [term for term in LIKELY if _all_read(loud, CODECS[term])]


def encode_for(text: str, charset: str) -> bytes:
    """Write text in the character set that a peer asked for; what it cannot hold becomes a question mark."""
    if charset in _DESIGNATIONS:
        # The designation is repeated after every delimiter, which resets it (PS3.5 K.2).
        escape, codec = _DESIGNATIONS[charset]
        parts = re.split(r"([\r\n\t\f^=\\])", text)
        return b"".join(
            part.encode("ascii") if part.isascii() else escape + part.encode(codec, "replace")
            for part in parts
        )
    return text.encode(writing_codec(charset), "replace")


def writing_codec(charset: str) -> str:
    """Python's name of what `encode_for` writes in this set; ASCII for one that nobody knows."""
    if charset in _DESIGNATIONS:
        return _DESIGNATIONS[charset][1]
    # PS3.5 H: JIS X 0208 is switched to and back from within each value, as ISO-2022-JP does.
    written = {"GBK": "gbk", "GB2312": "gb2312", "ISO 2022 IR 87": "iso2022_jp"}
    return written.get(charset, CODECS.get(plain_term(charset), "ascii"))


def pinyin_tokens(name: str) -> set[str]:
    """What a person name (all three groups, PS3.5 6.2.1) is found by, as prefixes, in lower case.

    Characters from every position on, full pinyin with the given name also alone, initials. Surnames have
    readings of their own (曾 zeng, 单 shan): all readings count, capped at 16. 吕 is found as lv and as lu.
    """
    tokens: set[str] = set()
    for group in name.split("=")[:3]:
        components = _components(group)
        latin = _latin(components)
        for start in range(len(latin)):
            tokens.add("".join(latin[start:]))
            tokens.add(latin[start])
        if len(latin) > 1:
            tokens.add("".join(part[0] for part in latin))
        tokens |= _han_tokens("".join(_HAN.findall("".join(components))))
    return _tokens(tokens)


def token_start(pattern: str) -> str:
    """What a token of every name begins with that has a group of this pattern, with * and ?; may be empty.

    Chinese characters that stand together may stand anywhere; other letters count from the beginning.
    """
    runs = re.split(r"[*?]", pattern)
    han = max(("".join(_HAN.findall(run)) for run in runs), key=len)
    return han[:_LONGEST_HAN] or "".join(_latin(_components(runs[0])))[:_LONGEST_TOKEN]


def _components(group: str) -> list[str]:
    return [part for part in re.split(r"[\^\s,，·.]+", group.strip()) if part]


def _latin(components: Iterable[str]) -> list[str]:
    folded = (unicodedata.normalize("NFKD", part).encode("ascii", "ignore") for part in components)
    return [part.decode().lower() for part in folded if part]


def whole_names(name: str) -> tuple[set[str], set[str]]:
    """A person name as a whole: in characters, and as it may be spelled, in lower case; both are tokens.

    What two records of one person share, whoever wrote characters and whoever only pinyin.
    """
    characters, spellings = set(), set()
    for group in name.split("=")[:3]:
        components = _components(group)
        latin = "".join(_latin(components))
        han = "".join(_HAN.findall("".join(components)))[:_LONGEST_HAN]
        characters |= {han}
        spellings |= {latin} | {"".join(reading) for reading in _readings(_sounds(han))}
    return _tokens(characters), _tokens(spellings)


def _tokens(words: Iterable[str]) -> set[str]:
    return {one[:_LONGEST_TOKEN] for one in words if one}


def _han_tokens(name: str) -> set[str]:
    name = name[:_LONGEST_HAN]
    if not name:
        return set()
    tokens = {name[start:] for start in range(len(name))}
    readings = _sounds(name)
    for reading in _readings(readings):
        tokens.add("".join(reading))
        tokens.add("".join(sound[0] for sound in reading))
    for reading in itertools.islice(itertools.product(*readings[1:]), 8):
        tokens.add("".join(reading))
    return tokens


def _sounds(han: str) -> list[list[str]]:
    """How each character may be read."""
    if not han:
        return []
    from pypinyin import Style, pinyin  # its dictionaries take a third of a second: not at every start

    sounds_of = pinyin(han, style=Style.NORMAL, heteronym=True, v_to_u=False)
    return [_spellings(sounds) for sounds in sounds_of]


def _readings(sounds: list[list[str]]) -> Iterator[tuple[str, ...]]:
    """The commonest readings of a name, at most 16."""
    if not sounds:
        return iter(())
    # The surname's readings with the commonest of the rest come first: the cap must not cost 单 its shan.
    by_surname = itertools.product(sounds[0], *(one[:1] for one in sounds[1:]))
    return itertools.islice(itertools.chain(by_surname, itertools.product(*sounds)), 16)


def _spellings(sounds: Iterable[str]) -> list[str]:
    found = []
    for sound in sounds:
        sound = sound.lower().replace("ü", "v")
        found += [sound, sound.replace("v", "u")] if sound.startswith(("lv", "nv")) else [sound]
    return list(dict.fromkeys(sound for sound in found if sound))


@lru_cache(maxsize=256)
def plain_term(term: str) -> str:
    """ISO 2022 IR 100, iso_ir 100 and "ISO IR 100" mean the same repertoire."""
    term = re.sub(r"[\s_-]+", " ", term.strip().upper())
    term = re.sub(r"^ISO (?:2022 )?IR ?(\d+)$", r"ISO_IR \1", term)
    return {"UTF 8": UTF_8, "UTF8": UTF_8, "GB 18030": GB18030, "GB 2312": "GB2312"}.get(term, term)


def _decode_lenient(raw: bytes, codec: str) -> str:
    """Senders cut values at 16 or 64 bytes: half a character at the end is dropped, not shown as damage."""
    try:
        return codecs.getincrementaldecoder(codec)("strict").decode(raw.rstrip(b" \0"), final=False)
    except UnicodeDecodeError:
        return raw.decode(codec, "replace")


def _all_read(samples: Sequence[bytes], codec: str) -> bool:
    try:
        for sample in samples:
            codecs.getincrementaldecoder(codec)("strict").decode(sample.rstrip(b" \0"), final=False)
    except UnicodeDecodeError:
        return False
    return True


def _is_utf_8(samples: Sequence[bytes]) -> bool:
    """Three-byte sequences do not come about by chance; two-byte ones do: much of GB2312 is such a pair."""
    if not _all_read(samples, "utf_8"):
        return False
    text = "".join(_decode_lenient(sample, "utf_8") for sample in samples)
    if any(character >= "\u0800" for character in text):
        return True
    foreign = [character for character in text if character > "\x7f"]
    return bool(foreign) and all(character < "\u0250" for character in foreign) and _has_latin_words(text)


def _has_latin_words(text: str) -> bool:
    return re.search(r"[A-Za-z][\u00c0-\u024f]|[\u00c0-\u024f][a-z]", text) is not None


def _pairs(samples: Sequence[bytes]) -> list[tuple[int, int]]:
    """The two-byte characters of GBK text; Latin text with accents yields pairs that end in ASCII letters."""
    found = []
    for sample in samples:
        position = 0
        while position < len(sample):
            if sample[position] > 0x7F and position + 1 < len(sample):
                found.append((sample[position], sample[position + 1]))
                position += 2
            else:
                position += 1
    return found


def _is_gb2312(samples: Sequence[bytes]) -> bool:
    pairs = _pairs(samples)
    return bool(pairs) and all(0xA1 <= lead <= 0xF7 and trail >= 0xA1 for lead, trail in pairs)


def _is_chinese(samples: Sequence[bytes]) -> bool:
    """GBK, judged by its commonest 3,755 characters (GB2312 level 1), which make most of any Chinese text."""
    if not _all_read(samples, "gb18030"):
        return False
    pairs = _pairs(samples)
    common = sum(0xB0 <= lead <= 0xD7 and trail >= 0xA1 for lead, trail in pairs)
    return bool(pairs) and common * 2 >= len(pairs)


def _decode_escaped(raw: bytes, first: str) -> str:
    """ISO 2022 (PS3.5 6.1.2.5). A G1 designation outlives a delimiter where nothing else could be meant."""
    default = CODECS.get(first, "ascii")
    g0, g1, out = "ascii", default, []
    for piece in _ESCAPE.split(raw):
        if piece in ESCAPES:
            element, _, codec = ESCAPES[piece]
            g0, g1 = (codec + piece.decode("latin_1"), g1) if element == 0 else ("ascii", codec)
            continue
        if g0.startswith("jis"):
            out.append((g0[3:].encode("latin_1") + piece).decode("iso2022_jp_2", "replace"))
            continue
        for part in _DELIMITERS.split(piece):
            if default != "ascii" and _DELIMITERS.fullmatch(part):
                g1 = default
            out.append(_decode_lenient_part(part, g1 if g1 != "ascii" else "gb18030"))
    # An escape sequence that no table knows is dropped: it must not reach a page or a log.
    return "".join(out).replace("\x1b", "")


def _decode_lenient_part(part: bytes, codec: str) -> str:
    if part.isascii():
        return part.decode("ascii")
    return part.decode(codec, "replace")
