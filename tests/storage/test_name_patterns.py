"""What an index leaves of the names before a pattern is tried on them: never too little."""

import random
import re

import pytest

from storage.charsets import pinyin_tokens, token_start

NAMES = [
    "ZHANG^SAN=张^三",
    "Ouyang^Xiao Ming=欧阳^小明",
    "王^伟",
    "李 四",
    "O'Brien^Seán^^Dr",
    "MÜLLER^JÜRGEN",
    "ＷＡＮＧ^ｗｅｉ=王^伟=ㄨㄤ",
    "wang王^wei伟",
    "^NOBODY",
    "=赵^一",
    "曾·贾^单",
]


def matches(name: str, pattern: str) -> bool:
    """Whether a group of the name is what the pattern says (PS3.4 C.2.2.2.4), without regard to case."""
    expression = "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in pattern)
    return any(re.fullmatch(expression, group) for group in name.lower().split("="))


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_matches_has_a_token_that_begins_so(name):
    chance, tokens = random.Random(name), pinyin_tokens(name)
    for _ in range(3000):
        group = list(chance.choice(name.lower().split("=")))
        for _ in range(chance.randrange(4)):
            at = chance.randrange(len(group) + 1)
            group[at : at + chance.randrange(3)] = chance.choice("*?*")
        pattern = "".join(group)

        if matches(name, pattern) and (start := token_start(pattern)):
            assert any(token.startswith(start) for token in tokens), (pattern, start)


@pytest.mark.parametrize(
    ("pattern", "start"),
    [
        ("zhang^s*", "zhangs"),
        ("*张三*", "张三"),
        ("张?丰", "张"),
        ("*ang*", ""),
        ("z?ang", "z"),
        ("^", ""),
        ("王^伟*", "王伟"),
    ],
)
def test_a_pattern_says_how_a_token_begins(pattern, start):
    assert token_start(pattern) == start
