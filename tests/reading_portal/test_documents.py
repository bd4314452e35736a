from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pyhanko.pdf_utils.reader import PdfFileReader

from reading_portal.documents import KeyImage, UnprintableReport, compose_report
from reading_portal.fonts import spelled_out, unprintable
from tests.programs import program
from tests.written_reports import (
    CHEN,
    WU,
    ct_report,
    ecg_report,
    english_report,
    slice_picture,
    trace_picture,
)
from worklist.report_content import (
    AddendumText,
    CriticalStatement,
    ReportContent,
    canonical_json,
    content_hash,
    content_of,
)

VERIFY = "https://center.example/verify/k3JqZx9A7bW2tYvP0dLmRg"


def compose(content: ReportContent, *pictures: KeyImage) -> bytes:
    return compose_report(content, key_images=list(pictures), verify_url=VERIFY)


def text_of(pdf: bytes, tmp_path: Path, **pages: int) -> str:
    """What a reader of the file can select and copy, without the line breaks that the layout made."""
    program("pdftotext", of="poppler-utils")
    (tmp_path / "report.pdf").write_bytes(pdf)
    limits = [word for key, value in pages.items() for word in (f"-{key}", str(value))]
    run = ["pdftotext", "-q", *limits, "-layout", str(tmp_path / "report.pdf"), "-"]
    return subprocess.run(run, capture_output=True, check=True, text=True).stdout


def squeezed(text: str) -> str:
    return "".join(text.split())


def page_count(pdf: bytes) -> int:
    return int(PdfFileReader(io.BytesIO(pdf)).root["/Pages"]["/Count"])


def test_every_word_of_a_chinese_report_can_be_selected_and_copied(tmp_path: Path) -> None:
    content = ct_report()

    text = squeezed(text_of(compose(content, *(slice_picture(i) for i in range(4))), tmp_path))

    for words in [
        "云岭县影像心电诊断中心",
        "青石镇卫生院",
        "欧阳淼",
        "OuyangMiao",
        "58岁",
        "2026-11-2209:31",
        content.technique,
        content.comparison,
        content.clinical_information,
        *content.findings.splitlines(),
        *content.impression,
        content.recommendation,
        "甲级",
        "云岭HR",
        "检查结果互认",
        "陈雨",
        "110530000012345",
        "书写时间2026-11-2210:02",
        "吴敏",
        "审签时间2026-11-2210:20",
        "轴位Im46",
        "第1页/共1页",
    ]:
        assert squeezed(words) in text, words


def test_the_document_claims_pdf_a_3_and_says_which_version_it_is() -> None:
    content = ct_report()

    reader = PdfFileReader(io.BytesIO(compose(content)))
    xmp = reader.root["/Metadata"].data.decode()

    assert "<pdfaid:part>3</pdfaid:part>" in xmp
    assert "<pdfaid:conformance>A</pdfaid:conformance>" in xmp
    assert f"urn:oid:{content.report_uid}" in xmp
    assert "version:1" in xmp
    assert content_hash(content) in xmp
    assert reader.root["/Lang"] in ("zh-CN", "zh-cn")


def test_the_machine_copy_inside_is_the_content_that_was_hashed() -> None:
    content = ct_report()

    reader = PdfFileReader(io.BytesIO(compose(content)))
    names = reader.root["/Names"]["/EmbeddedFiles"]["/Names"]

    assert names[0] == "report.json"
    assert names[1]["/AFRelationship"] == "/Data"
    assert names[1]["/EF"]["/F"].data == canonical_json(content)


def test_the_same_content_gives_the_same_bytes() -> None:
    assert compose(ct_report(), slice_picture(1)) == compose(ct_report(), slice_picture(1))


def test_a_sound_pdf_leaves_the_press(tmp_path: Path) -> None:
    program("qpdf", of="qpdf")
    (tmp_path / "report.pdf").write_bytes(compose(ecg_report(), trace_picture()))

    checked = subprocess.run(
        ["qpdf", "--check", str(tmp_path / "report.pdf")], capture_output=True, text=True
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_preliminary_report_says_so_across_the_page(tmp_path: Path) -> None:
    pdf = compose(ct_report(status="preliminary", reviewer=None))

    text = squeezed(text_of(pdf, tmp_path))
    final = squeezed(text_of(compose(ct_report()), tmp_path))

    assert text.count("PRELIMINARY") == 1
    assert "尚未经审核医师审签" in text
    # Once in the notice, once in the watermark, whose letters stand at an angle and come out one by one.
    assert text.count("临") == final.count("临") + 2
    assert "PRELIMINARY" not in final


def test_paper_says_words_where_dicom_has_codes(tmp_path: Path) -> None:
    told = CriticalStatement(category="minutes", statement="张力性气胸")
    content = ct_report(body_part="KNEE", laterality="L", critical=told)

    chinese = squeezed(text_of(compose(content), tmp_path))
    english = text_of(compose(english_report(body_part="KNEE", laterality="L")), tmp_path)
    unknown = squeezed(text_of(compose(ct_report(body_part="ZYGOMA")), tmp_path))

    assert "左膝关节" in chinese and "KNEE" not in chinese
    assert "危急值立即（分钟内）" in chinese and "minutes" not in chinese
    assert "北京时间" in chinese and "Asia/Shanghai" not in chinese
    assert "Left knee" in english
    # A code that no catalogue knows is better than nothing.
    assert "ZYGOMA" in unknown


def test_a_patient_id_of_another_institution_names_its_issuer(tmp_path: Path) -> None:
    own = squeezed(text_of(compose(ct_report()), tmp_path))
    foreign = squeezed(text_of(compose(ct_report(patient_issuer="C01")), tmp_path))

    assert "P20260001T01" not in own
    assert "P20260001C01" in foreign


def test_an_addendum_stands_on_page_one_with_the_version_it_supersedes(tmp_path: Path) -> None:
    content = ct_report(
        version=3,
        status="appended",
        supersedes_version=2,
        findings="两肺纹理清晰。" * 400,
        addenda=(
            AddendumText(text="与 2024-03 外院片对比，结节大小相仿。", reason="获得外院资料", author=CHEN),
        ),
    )

    pdf = compose(content)
    first = squeezed(text_of(pdf, tmp_path, l=1))

    assert page_count(pdf) > 1
    assert "欧阳淼" in squeezed(text_of(pdf, tmp_path, f=2))
    assert "与2024-03外院片对比" in first
    assert "获得外院资料" in first
    assert "补充报告本版为第3版，取代第2版" in first


def test_a_withdrawn_report_says_why_before_anything_else(tmp_path: Path) -> None:
    content = ct_report(
        version=2, status="entered-in-error", withdrawn_reason="影像属于另一患者。", withdrawn_by=WU
    )

    text = squeezed(text_of(compose(content), tmp_path))

    assert text.index("本报告已撤回") < text.index("欧阳淼")
    assert "影像属于另一患者。吴敏2026-11-2210:20" in text
    assert "WITHDRAWN" in text


def test_an_ecg_is_printed_once_more_at_its_true_size(tmp_path: Path) -> None:
    pdf = compose(ecg_report(), trace_picture())

    text = squeezed(text_of(pdf, tmp_path))
    kids = PdfFileReader(io.BytesIO(pdf)).root["/Pages"]["/Kids"]
    width, height = (float(kids[1]["/MediaBox"][i]) for i in (2, 3))

    assert page_count(pdf) == 2
    assert (round(width), round(height)) == (842, 595)
    for words in ("382/436ms", "QT/QTc", "急性心肌梗死", "下壁ST抬高，立即转县医院", "25mm/s"):
        assert words in text


def test_a_report_in_english_has_no_chinese_label(tmp_path: Path) -> None:
    text = text_of(compose(english_report()), tmp_path)

    assert "Diagnostic Report" in text
    assert "Ground-glass nodule, right upper lobe" in text
    assert "58 years" in text
    assert not [c for c in text if "\u4e00" <= c <= "\u9fff"]


@pytest.mark.parametrize(
    "words",
    [
        '#read("/etc/passwd") #{panic()} $x$ *粗* _斜_ `x` // 注释 \\u{1f600}',
        "</text><script>alert(1)</script> & < > \" ' ]} #[",
        "@preview/evil:0.1.0 <label> = 标题",
    ],
)
def test_the_clinicians_words_are_never_read_as_anything_but_words(words: str, tmp_path: Path) -> None:
    text = squeezed(text_of(compose(ct_report(findings=words)), tmp_path))

    assert squeezed(words) in text


def test_a_run_of_letters_that_no_line_holds_stays_on_the_page(tmp_path: Path) -> None:
    words = "A" * 150 + "END"

    text = text_of(compose(ct_report(findings=words)), tmp_path)

    assert words in squeezed(text).replace("\u200b", "")
    assert len([line for line in text.splitlines() if "AAAA" in line]) >= 2


def test_a_character_that_no_face_has_is_named_and_never_printed() -> None:
    content = ct_report(patient_name="吴𠮷", findings="见 😀 影")

    with pytest.raises(UnprintableReport) as refused:
        compose(content)

    assert refused.value.characters == ["𠮷 (U+20BB7)", "😀 (U+1F600)"]
    assert compose(ct_report(patient_name=spelled_out("吴𠮷")))


def test_text_that_would_reorder_a_line_is_unprintable_and_harmless_marks_are_not() -> None:
    assert unprintable("右肺\u202e上叶") == ["U+202E RIGHT-TO-LEFT OVERRIDE"]
    assert unprintable("\x07") == ["U+0007 CONTROL CHARACTER"]
    assert unprintable("左\u200b肺\ufeff 5 mm\n≥ ≤ ± μ ² ℃ Ⅱ ① → × ½ α β γ 䶮 𬭊") == []
    assert spelled_out("吴𠮷") == "吴〔U+20BB7〕"


def test_an_impression_with_its_own_numbers_is_not_numbered_twice(tmp_path: Path) -> None:
    content = ct_report(impression=("1、右肺上叶结节。", "2.5 cm 肝囊肿。", "3. 脂肪肝。"))

    text = squeezed(text_of(compose(content), tmp_path))

    assert "1.右肺上叶结节。" in text
    assert "2.2.5cm肝囊肿。" in text
    assert "3.脂肪肝。" in text


def test_canonical_json_is_the_same_for_the_same_words_however_they_were_typed() -> None:
    composed = ct_report(findings="Ménière")
    decomposed = ct_report(findings="Me\u0301nie\u0300re")

    plain: dict[str, Any] = json.loads(canonical_json(composed))

    assert canonical_json(composed) == canonical_json(decomposed)
    assert content_hash(composed) != content_hash(ct_report(findings="Meniere"))
    assert list(plain) == sorted(plain)
    assert plain["performed_at"] == "2026-11-22T01:31:00Z"


@pytest.mark.parametrize("content", [ct_report(), ecg_report(), english_report(reviewer=None)])
def test_content_comes_back_whole_from_its_canonical_form(content: ReportContent) -> None:
    assert content_of(json.loads(canonical_json(content))) == content


@pytest.mark.parametrize("media_type", ["image/gif", "image/png", "image/jpeg", "image/svg+xml"])
def test_a_picture_that_is_no_picture_is_refused(media_type: str) -> None:
    with pytest.raises(ValueError, match=r"picture of|PNG, JPEG or SVG"):
        compose(ct_report(), KeyImage(data=b"GIF89a", media_type=media_type))


def test_a_label_inside_a_drawing_that_no_face_has_is_named_too() -> None:
    drawn = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><text font-size="4">吴𠮷</text></svg>'

    with pytest.raises(UnprintableReport) as refused:
        compose(ct_report(), KeyImage(data=drawn.encode(), media_type="image/svg+xml"))

    assert refused.value.characters == ["𠮷 (U+20BB7)"]
