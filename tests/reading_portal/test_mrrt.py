"""Templates of other systems become plain words, and ours can be read by them (IHE RAD TF-2, MRRT)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reading_portal.mrrt import read_mrrt, write_mrrt
from worklist.problems import Unacceptable
from worklist.report_templates import TemplateWords

HEAD = """<!DOCTYPE html><html><head><meta charset="{charset}"/>
<meta name="dcterms.title" content="{title}"/><meta name="dcterms.type" content="IMAGE_REPORT_TEMPLATE"/>
<meta name="dcterms.language" content="{language}"/>
<script type="text/xml"><!-- <template_attributes><term>
<code meaning="{coded}" value="RID1" scheme="RadLex"></term></template_attributes> --></script>
<title>{title}</title></head><body>"""
# As the older templates of RadReport write fields: units in a second label.
CARDIAC = (
    HEAD.format(charset="UTF-8", title="Heart", language="en", coded="magnetic resonance imaging")
    + """
<section data-section-name='Procedure'><header class='level1'>Heart protocol</header>
<p><label for='a1'>Field strength:</label><input type='number' id='a1' data-field-units='T' value='1.5'/>
<label for='a1'>T</label></p></section>
<section data-section-name='Clinical information'><header class='level1'>Clinical information</header>
<p><textarea id='a2'>none</textarea></p></section>
<section data-section-name='Findings'><header class='level1'>Findings</header>
<p><label for='a3'>Cine images:</label><textarea id='a3'>Normal size.
Normal wall motion. </textarea></p>
<section data-section-name='Left ventricle'><header class='level2'>Left ventricle</header>
<p><label for='a4'>Volume:</label><input type='number' id='a4' data-field-units='mL'/>
<label for='a4'>mL</label></p>
<p><label for='a5'>Mass:</label><input type='number' id='a5' data-field-units='g'/></p>
<p><label for='a6'>Thrombus:</label><select id='a6'><option>none</option><option>apical</option></select></p>
<p><label for='a7'>Effusion:</label>
<select id='a7'><option>none</option><option selected>mild</option></select></p>
<p><input type='checkbox' checked value='x'>Pacemaker</input><br/><input type='checkbox'>Shunt</input></p>
</section></section>
<section data-section-name='Impression'><header class='level1'>Impression</header>
<p><textarea id='a8'> </textarea></p></section></body></html>"""
)


def test_a_template_of_another_system_becomes_text_with_blanks_to_fill_in() -> None:
    imported = read_mrrt(CARDIAC.encode())

    assert imported.words.name == "Heart"
    assert imported.words.modalities == ("MR",)
    assert imported.language == "en"
    assert imported.words.findings.split("\n") == [
        "Heart protocol",
        "Field strength: 1.5 T",
        "Cine images: Normal size.",
        "Normal wall motion.",
        "Left ventricle",
        "Volume: ____ mL",
        "Mass: ____ g",
        "Thrombus: ____ (none/apical)",
        "Effusion: mild",
        "[x] Pacemaker",
        "[ ] Shunt",
    ]
    assert imported.words.impression == ""
    assert imported.left_out == ("Clinical information",)


@pytest.mark.parametrize("charset", ["UTF-8", "GB18030", "GBK"])
def test_a_chinese_template_is_read_in_the_character_set_of_its_file(charset: str) -> None:
    text = HEAD.format(charset=charset, title="胸部CT 平扫", language="zh-CN", coded="") + (
        "<section data-section-name='影像所见'><header>影像所见</header>"
        "<p>两肺清晰。</p></section>"
        "<section data-section-name='诊断意见'><header>诊断意见</header>"
        "<p>未见异常。</p></section></body></html>"
    )

    words = read_mrrt(text.encode(charset)).words

    assert (words.name, words.modalities) == ("胸部CT 平扫", ("CT",))
    assert (words.findings, words.impression) == ("两肺清晰。", "未见异常。")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no sections"),
        (b"%PDF-1.7", "no sections"),
        (b"<html><section data-section-name='Clinical history'>x</section></html>", "neither findings"),
        (b"<section>\xff\xfe\x81", "no text"),
        (b"<section>" + b"x" * 600_000, "at most 512 kB"),
    ],
)
def test_what_is_no_template_is_refused_with_the_reason(data: bytes, why: str) -> None:
    with pytest.raises(Unacceptable, match=why):
        read_mrrt(data)


def test_what_a_file_would_run_or_show_is_left_behind() -> None:
    data = b"""<section data-section-name="Findings"><script>alert(1)</script><style>p{}</style>
    <p onclick="x()">Clear <img src=x onerror=alert(1)> lungs.</p></section>"""

    assert read_mrrt(data).words.findings == "Clear lungs."


LINE = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp", "Cf", "Cn")), min_size=1, max_size=40
)
TEXT = st.lists(LINE, min_size=1, max_size=5).map("\n".join).filter(lambda text: text != "____")


@given(LINE, TEXT, TEXT, TEXT)
def test_what_we_write_we_read_again(name: str, findings: str, impression: str, recommendation: str) -> None:
    words = TemplateWords(
        name=name,
        modalities=("US",),
        findings=findings,
        impression=impression,
        recommendation=recommendation,
    )

    written = write_mrrt(words, identifier="urn:x", language="zh-CN", publisher="云岭县").encode()

    again = read_mrrt(written).words
    assert (again.findings, again.impression, again.recommendation) == (findings, impression, recommendation)
    assert again.name == name


@given(st.binary(max_size=300), st.text(max_size=300))
def test_any_file_is_read_or_refused(data: bytes, text: str) -> None:
    for one in (data, b"<section>" + data, f"<section data-section-name='findings'>{text}".encode()):
        try:
            read_mrrt(one)
        except Unacceptable:
            continue
