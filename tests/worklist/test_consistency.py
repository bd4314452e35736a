"""What a second pair of eyes would doubt in a report, in both languages."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worklist.consistency import Doubt, Kind, doubts_about

# Sentences that name no side, no organ of one sex, and have no comparison in them.
NEUTRAL = st.sampled_from(
    [
        "骨皮质连续，未见明确骨折。", "关节间隙未见狭窄；", "结节大小约8mm左右。", "建议3.5个月后复查，",
        "No fracture is seen. ", "The joint space is normal; ", "A cyst of 3.5 mm, ", "Testing was normal. ",
        "Cervical spine without abnormality. ", "The drain was left in place.\n", "椎体及附件骨质完整。",
        "The cortex forms a right angle.\n", "Left lateral view. ", "患者取左前斜位。", "右侧卧位摄片，",
        "心影不大\n",
    ]
)  # fmt: skip
CONTEXT = st.lists(NEUTRAL, max_size=6).map("".join)
ON_THE_LEFT = [
    "左膝关节积液",
    "the left knee",
    "Lt knee effusion",
    "左侧髌骨骨折",
    "LEFT WRIST",
    "见left knee积液",
    "left-sided effusion",
]
MIRROR = {
    "左": "右", "右": "左", "left": "right", "right": "left", "LEFT": "RIGHT", "RIGHT": "LEFT",
    "Lt": "Rt", "Rt": "Lt", "L": "R", "R": "L",
}  # fmt: skip
OF_MEN = [
    "前列腺增大",
    "双侧睾丸",
    "精囊腺",
    "the prostate is enlarged",
    "Testicular mass",
    "scrotum",
    "seminal vesicles",
]
OF_WOMEN = [
    "子宫肌瘤",
    "卵巢囊肿",
    "宫颈管",
    "uterine fibroid",
    "left ovary",
    "Cervix",
    "endometrium",
    "早期妊娠",
]


def mirrored(text: str) -> str:
    return re.sub(
        r"左|右|\b(?:left|right|LEFT|RIGHT|Lt|Rt)\b", lambda found: MIRROR[found[0]], text, flags=re.ASCII
    )


def kinds(findings: str = "", impression: str = "", *, side: str = "", sex: str = "") -> set[Kind]:
    found = doubts_about({"findings": findings, "impression": impression}, side=side, sex=sex)
    return {one.kind for one in found}


@given(CONTEXT, CONTEXT, st.sampled_from(["L", "R", "B", "U", ""]), st.sampled_from(["F", "M", "O", ""]))
def test_words_without_side_or_sex_raise_no_doubt(
    findings: str, impression: str, side: str, sex: str
) -> None:
    assert kinds(findings, impression, side=side, sex=sex) == set()


@given(CONTEXT, st.sampled_from(ON_THE_LEFT), CONTEXT)
def test_the_other_side_is_doubted_wherever_it_stands(before: str, said: str, after: str) -> None:
    text = f"{before}\n{said}。{after}"

    of_the_right = doubts_about({"findings": text}, side="R", sex="")

    assert [one.kind for one in of_the_right] == [Kind.SIDE]
    (doubt,) = of_the_right
    assert doubt.said in doubt.within and doubt.within in text and doubt.expected == "R"
    assert kinds(text, side="L") == set()


@given(CONTEXT, st.sampled_from(ON_THE_LEFT), CONTEXT, st.sampled_from(["L", "R"]))
def test_the_mirrored_report_of_the_mirrored_study_has_the_mirrored_doubts(
    before: str, said: str, after: str, side: str
) -> None:
    def doubts(said: str, side: str) -> list[Doubt]:
        words = {"findings": f"{before}\n{said}。{after}", "impression": said}
        return doubts_about(words, side=side, sex="")

    there, here = doubts(said, side), doubts(mirrored(said), MIRROR[side])

    assert [mirrored(one.within) for one in there] == [one.within for one in here]
    assert [MIRROR[one.expected] for one in there] == [one.expected for one in here]


@given(CONTEXT, st.sampled_from(OF_MEN), CONTEXT)
def test_an_organ_of_men_is_doubted_in_a_woman_only(before: str, said: str, after: str) -> None:
    text = f"{before}\n{said}。{after}"

    assert kinds(text, sex="F") == {Kind.SEX}
    assert kinds(text, sex="M") == kinds(text, sex="O") == kinds(text, sex="") == set()


@given(CONTEXT, st.sampled_from(OF_WOMEN), CONTEXT)
def test_an_organ_of_women_is_doubted_in_a_man_only(before: str, said: str, after: str) -> None:
    text = f"{before}\n{said}。{after}"

    assert kinds(text, sex="M") == {Kind.SEX}
    assert kinds(text, sex="F") == kinds(text, sex="O") == kinds(text, sex="") == set()


@given(st.text(max_size=400), st.text(max_size=400), st.text(max_size=2), st.text(max_size=2))
def test_any_text_is_read_and_what_is_doubted_stands_in_it(
    findings: str, impression: str, side: str, sex: str
) -> None:
    words = {"findings": findings, "impression": impression}

    for one in doubts_about(words, side=side, sex=sex):
        assert one.said in one.within
        assert one.within in words[one.part]


@pytest.mark.parametrize(
    "text",
    [
        "左膝关节间隙变窄，与右侧对比明显。",
        "较右侧增宽。",
        "Widened compared with the right knee.",
        "The contralateral right side is normal.",
        "结节大小约8mm左右",
        "右侧位片",
    ],
)
def test_a_look_across_and_a_word_that_names_no_side_are_no_mistake(text: str) -> None:
    assert kinds(text, side="L") == set()


@pytest.mark.parametrize(
    "text", ["双膝退行性变", "Bilateral effusion", "双侧乳腺未见肿块", "Both knees are normal"]
)
def test_both_sides_are_doubted_where_one_was_examined(text: str) -> None:
    assert kinds(text, side="L") == {Kind.BOTH}
    assert kinds(text, side="B") == kinds(text) == set()


@pytest.mark.parametrize(
    ("findings", "impression", "is_doubted"),
    [
        ("右肺上叶见结节。", "左肺上叶结节。", True),
        ("A nodule in the right upper lobe.", "Nodule of the left upper lobe.", True),
        ("右肺上叶见结节。", "右肺上叶结节。", False),
        ("右肺上叶见结节，左肺清晰。", "左肺上叶结节。", False),
        ("双侧胸腔积液，右侧明显。", "左侧胸腔积液。", False),
        ("两肺清晰。", "左肺上叶结节。", False),
    ],
)
def test_an_impression_of_a_side_that_the_findings_do_not_name_is_doubted(
    findings: str, impression: str, is_doubted: bool
) -> None:
    assert kinds(findings, impression) == ({Kind.UNFOUND} if is_doubted else set())


@pytest.mark.parametrize("text", ["Compared with 2024. The right knee.", "与旧片对比。右膝骨折。"])
def test_a_comparison_excuses_its_own_sentence_only(text: str) -> None:
    (doubt,) = doubts_about({"findings": text}, side="L", sex="")

    assert doubt.within in ("The right knee", "右膝骨折")


def test_a_blank_that_nobody_has_filled_in_is_doubted() -> None:
    assert kinds("结节约 ____ mm。") == {Kind.BLANK}
    assert kinds("结节约 8 mm。") == set()


def test_a_word_that_comes_again_is_doubted_once_in_each_part() -> None:
    words = {"findings": "右膝积液。右膝骨折。", "impression": "右膝骨折。"}

    assert doubts_about(words, side="L", sex="") == [
        Doubt(Kind.SIDE, "findings", "右", "右膝积液", "L"),
        Doubt(Kind.SIDE, "impression", "右", "右膝骨折", "L"),
    ]


@pytest.mark.parametrize("text", ["左" * 20_000, "left " * 4_000, "1." * 10_000, "a" * 20_000, "，" * 20_000])
def test_the_longest_text_is_read_while_nobody_waits(text: str) -> None:
    began = time.process_time()

    doubts_about(dict.fromkeys(("findings", "impression", "recommendation"), text), side="R", sex="M")

    assert time.process_time() - began < 1
