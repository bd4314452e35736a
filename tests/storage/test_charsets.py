"""Chinese names arrive in every encoding but the declared one, and are read as they were meant."""

import pytest

from storage.charsets import decode_as, decode_text, encode_for, judge_charset, pinyin_tokens


@pytest.mark.parametrize(
    ("raw", "declared", "text", "used", "is_guess"),
    [
        ("张^三".encode("gb18030"), ["GB18030"], "张^三", "GB18030", False),
        ("张^三".encode("gbk"), ["GBK"], "张^三", "GB18030", False),
        ("张^三".encode("gbk"), [], "张^三", "GB18030", True),
        ("张^三".encode("gbk"), ["ISO_IR 100"], "张^三", "GB18030", True),
        ("李四".encode("gbk"), ["ISO_IR 192"], "李四", "GB18030", True),
        ("朱镕基".encode("gbk"), ["ISO_IR 100"], "朱镕基", "GB18030", True),
        ("胸部CT平扫（增强）".encode("gbk"), [], "胸部CT平扫（增强）", "GB18030", True),
        ("王小东".encode(), ["ISO_IR 192"], "王小东", "ISO_IR 192", False),
        ("王小东".encode(), [], "王小东", "ISO_IR 192", True),
        ("王小东".encode(), ["ISO_IR 100"], "王小东", "ISO_IR 192", True),
        ("王小东".encode(), ["GB18030"], "王小东", "ISO_IR 192", True),
        ("𠮷田".encode("gb18030"), ["GB18030"], "𠮷田", "GB18030", False),
        ("Müller^Größe".encode("latin_1"), ["ISO_IR 100"], "Müller^Größe", "ISO_IR 100", False),
        ("Müller".encode(), [], "Müller", "ISO_IR 192", True),
        (b"ZHANG^SAN", ["ISO_IR 100"], "ZHANG^SAN", "ISO_IR 100", False),
    ],
)
def test_a_name_is_read_as_it_was_meant(raw, declared, text, used, is_guess):
    decoded = decode_text(raw, declared)

    assert (decoded.text, decoded.used, decoded.is_guess) == (text, used, is_guess)
    assert decoded.declared == tuple(declared)


@pytest.mark.parametrize(
    ("raw", "declared", "text"),
    [
        (
            b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=",
            ["", "ISO 2022 IR 58"],
            "Zhang^XiaoDong=张^小东=",
        ),
        (
            b"Wang^XiaoDong=\x1b$)A\xcd\xf5^\xd0\xa1\xb6\xab=",
            ["ISO_IR 100", "ISO 2022 IR 58"],
            "Wang^XiaoDong=王^",
        ),
        (
            b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B",
            ["", "ISO 2022 IR 87"],
            "Yamada^Tarou=山田^太郎",
        ),
        (
            b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7",
            ["", "ISO 2022 IR 149"],
            "Hong^Gildong=洪^吉洞",
        ),
    ],
)
def test_escape_sequences_switch_the_repertoire_and_vanish(raw, declared, text):
    decoded = decode_text(raw, declared)

    assert decoded.text.startswith(text)
    assert "\x1b" not in decoded.text


def test_an_unknown_escape_sequence_never_reaches_a_page():
    assert "\x1b" not in decode_text(b"EVIL\x1b[31mred", []).text


def test_a_value_cut_in_half_a_character_loses_the_half_only():
    assert decode_text("张三丰".encode("gbk")[:-1], ["ISO_IR 100"]).text == "张三"
    assert decode_text("张三丰".encode()[:-1], ["ISO_IR 192"]).text == "张三"


def test_the_whole_dataset_decides_where_one_value_could_not():
    values = ["（）".encode("gbk"), "胸部正位".encode("gbk"), "青石镇卫生院".encode("gbk")]

    used, is_guess = judge_charset(values, ["ISO_IR 100"])

    assert (used, is_guess) == ("GB18030", True)
    assert decode_as(values[0], used, ["ISO_IR 100"]) == "（）"


@pytest.mark.parametrize(
    ("charset", "raw"),
    [
        ("ISO_IR 192", "张^小东".encode()),
        ("GB18030", "张^小东".encode("gb18030")),
        ("ISO 2022 IR 58", b"\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab"),
        ("ISO_IR 100", b"?^??"),
        ("", b"?^??"),
    ],
)
def test_an_answer_is_written_in_the_character_set_that_was_asked_for(charset, raw):
    assert encode_for("张^小东", charset) == raw


def test_a_name_is_found_by_characters_pinyin_and_initials():
    tokens = pinyin_tokens("WANG^XIAODONG=王^小东")

    assert {"王小东", "小东", "东", "wangxiaodong", "xiaodong", "wxd", "wang"} <= tokens


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("曾国藩", {"zengguofan", "zgf"}),
        ("单雄信", {"shanxiongxin", "sxx"}),
        ("吕布", {"lvbu", "lubu", "lb"}),
        ("仇英", {"qiuying"}),
        ("LI^LAN=李^岚=lǐ^lán", {"李岚", "lilan", "ll"}),
    ],
)
def test_surnames_with_a_reading_of_their_own_are_found(name, expected):
    tokens = pinyin_tokens(name)

    assert expected <= tokens
    assert all(token == token.lower() for token in tokens)


def test_a_name_of_many_readings_does_not_explode():
    assert len(pinyin_tokens("重行长乐" * 8)) < 100
