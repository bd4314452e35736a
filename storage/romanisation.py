"""Chinese in Latin letters, for devices that can show nothing else: pinyin without tones."""

from __future__ import annotations

import re
import unicodedata

from storage.charsets import HAN

# Surnames that are read otherwise than the word, and those of two characters (百家姓).
_SURNAMES = {
    "单": "shan",
    "曾": "zeng",
    "仇": "qiu",
    "区": "ou",
    "朴": "piao",
    "解": "xie",
    "查": "zha",
    "盖": "ge",
    "种": "chong",
    "乐": "yue",
    "翟": "zhai",
    "覃": "qin",
    "冼": "xian",
    "员": "yun",
    "任": "ren",
    "华": "hua",
    "缪": "miao",
    "宓": "mi",
    "召": "shao",
    "折": "she",
    "黑": "he",
    "繁": "po",
    "尉迟": "yuchi",
    "万俟": "moqi",
    "欧阳": "ouyang",
    "司马": "sima",
    "上官": "shangguan",
    "诸葛": "zhuge",
    "东方": "dongfang",
    "皇甫": "huangfu",
    "公孙": "gongsun",
    "慕容": "murong",
    "令狐": "linghu",
    "司徒": "situ",
    "夏侯": "xiahou",
    "长孙": "zhangsun",
    "宇文": "yuwen",
    "端木": "duanmu",
    "轩辕": "xuanyuan",
    "南宫": "nangong",
    "西门": "ximen",
    "独孤": "dugu",
    "澹台": "tantai",
    "公羊": "gongyang",
    "呼延": "huyan",
}
_RUN = re.compile(f"({HAN}+)")


def romanised(text: str) -> str:
    """Text as ASCII: Chinese as pinyin, syllable by syllable; letters without their accents; else "?"."""
    pieces = []
    for piece in _RUN.split(text):
        pieces.append(f" {' '.join(_syllables(piece))} " if _RUN.fullmatch(piece) else _plain(piece))
    said = re.sub(r" +(?=[,.:;)!\]])", "", "".join(pieces))
    return re.sub(r" {2,}", " ", re.sub(r"([,:;])(?=[A-Za-z])", r"\1 ", said)).strip(" ")


def romanised_name(name: str) -> str:
    """The alphabetic group of a PN value (PS3.5 6.2.1.2): as it stands where it is Latin, otherwise the
    pinyin of the ideographic one, family name first: `=欧阳修` → `OUYANG^XIU`."""
    groups = [group.strip("^ ") for group in name.split("=")]
    if groups[0] and not _RUN.search(groups[0]):
        return _plain(groups[0])
    best = next((group for group in groups[:2] if _RUN.search(group)), "")
    family, caret, given = best.partition("^")
    if not caret:
        length = 2 if family[:2] in _SURNAMES and len(family) > 2 else 1
        family, given = family[:length], family[length:]
    said = _SURNAMES.get(family) or "".join(romanised(family).split())
    rest = "^".join("".join(romanised(part).split()) for part in given.split("^") if part)
    return "^".join(filter(None, (said, rest))).upper()


def _syllables(han: str) -> list[str]:
    from pypinyin import Style, lazy_pinyin  # its dictionaries take a third of a second: not at every start

    return list(lazy_pinyin(han, style=Style.NORMAL, v_to_u=False))


_SIGNS = str.maketrans("，。：；（）、？！“”‘’【】—…　", ",.:;(),?!\"\"''[]-. ")


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text.translate(_SIGNS))
    return "".join(
        letter if letter.isascii() else "?" for letter in folded if not unicodedata.combining(letter)
    )
