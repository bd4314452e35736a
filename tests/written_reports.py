"""Reports as clinicians of the demo county would write them, for whoever prints, seals or sends them."""

from __future__ import annotations

import dataclasses
import io
import math
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
from PIL import Image

from reading_portal.documents import KeyImage
from worklist.report_content import CriticalStatement, KeyImageReference, Measured, ReportContent, Signatory

CHEN = Signatory(
    name="陈雨",
    username="reed",
    institution_name="云岭县人民医院",
    license_number="110530000012345",
    title="主治医师",
    signed_at=datetime(2026, 11, 22, 2, 2, 11, tzinfo=UTC),
)
WU = Signatory(
    name="吴敏",
    username="wumin",
    institution_name="云岭县人民医院",
    license_number="110530000054321",
    title="主任医师",
    signed_at=datetime(2026, 11, 22, 2, 20, 40, tzinfo=UTC),
)
FINDINGS = (
    "胸廓对称，气管居中。两肺纹理清晰，右肺上叶尖段见一磨玻璃结节（Im 46），大小约 8 mm × 6 mm，边界清楚，"
    "内见空泡征，CT 值约 −560 HU；余肺未见明显实变影。\n"
    "纵隔内未见肿大淋巴结。心影大小、形态正常，主动脉壁少许钙化。双侧胸膜未见增厚，胸腔未见积液。\n"
    "扫及肝脏、脾脏、双侧肾上腺未见明显异常。胸椎轻度骨质增生。"
)


def ct_report(**changes: Any) -> ReportContent:
    """A final CT report of 欧阳淼, examined in Qingshi, read by Chen Yu, reviewed by Wu Min."""
    content = ReportContent(
        report_uid="2.25.100200300400500600700800900",
        version=1,
        status="final",
        language="zh-CN",
        timezone="Asia/Shanghai",
        center_name="云岭县影像心电诊断中心",
        institution_name="青石镇卫生院",
        institution_code="T01",
        patient_name="欧阳淼",
        patient_name_phonetic="Ouyang Miao",
        patient_id="P20260001",
        patient_issuer="T01",
        patient_sex="M",
        patient_birth_date=date(1968, 1, 1),
        patient_age="058Y",
        modality="CT",
        exam_name="胸部 CT 平扫",
        body_part="胸部",
        accession_number="T01202611220017",
        study_instance_uid="2.25.314159265358979",
        study_manifest_hash="6f" * 32,
        performed_at=datetime(2026, 11, 22, 1, 31, tzinfo=UTC),
        department="全科门诊",
        requester_name="李岚",
        technician_name="马强",
        device_name="T01_CT",
        clinical_information="咳嗽、咳痰 2 周，吸烟史 30 年，外院胸片示右上肺可疑结节。",
        technique="仰卧位，深吸气末屏气，自肺尖至肋膈角螺旋扫描，层厚 1.25 mm，肺窗及纵隔窗重建。",
        comparison="2025-10-08 胸部 CT 平扫（云岭县人民医院）：右肺上叶结节为新发。",
        findings=FINDINGS,
        impression=(
            "右肺上叶尖段磨玻璃结节（约 8 mm），Lung-RADS 3 类。",
            "两肺余未见明显活动性病变。",
            "主动脉硬化；胸椎退行性变。",
        ),
        recommendation="建议 3 个月后复查低剂量胸部 CT，必要时胸外科就诊。",
        image_quality="甲级",
        recognition_mark="云岭HR",
        author=CHEN,
        reviewer=WU,
        key_images=tuple(
            KeyImageReference(sop_instance_uid=f"2.25.31415926535897{i}", caption=f"轴位 Im {40 + 2 * i}")
            for i in range(4)
        ),
    )
    return dataclasses.replace(content, **changes)


def ecg_report(**changes: Any) -> ReportContent:
    content = ct_report(
        modality="ECG",
        exam_name="常规十二导联心电图",
        body_part="",
        device_name="T01_ECG",
        clinical_information="胸闷 2 小时。",
        technique="",
        comparison="",
        measurements=(
            Measured(name="心率", value="78", unit="次/分"),
            Measured(name="PR 间期", value="162", unit="ms"),
            Measured(name="QRS 时限", value="96", unit="ms"),
            Measured(name="QT/QTc", value="382/436", unit="ms"),
            Measured(name="电轴", value="52", unit="°"),
            Measured(name="RV5+SV1", value="2.31", unit="mV"),
        ),
        findings="窦性心律，P–QRS–T 顺序出现。Ⅱ、Ⅲ、aVF 导联 ST 段弓背抬高 0.3 mV，Ⅰ、aVL 对应性压低。",
        impression=("窦性心律", "急性下壁心肌梗死（ST 段抬高型）可能，请立即结合临床"),
        recommendation="立即启动胸痛流程，加做右胸及后壁导联。",
        recognition_mark="",
        reviewer=None,
        key_images=(),
        critical=CriticalStatement(
            category="急性心肌梗死",
            statement="心电图提示急性下壁 ST 段抬高型心肌梗死。",
            notified_at=datetime(2026, 11, 22, 1, 40, tzinfo=UTC),
            notified_to="李岚（青石镇卫生院）",
            acknowledged_at=datetime(2026, 11, 22, 1, 42, tzinfo=UTC),
            read_back="下壁 ST 抬高，立即转县医院",
        ),
    )
    return dataclasses.replace(content, **changes)


def english_report(**changes: Any) -> ReportContent:
    content = ct_report(
        language="en",
        center_name="Yunling County Imaging and ECG Centre",
        institution_name="Qingshi Township Health Centre",
        patient_name="Ouyang Miao",
        patient_name_phonetic="",
        exam_name="CT chest, unenhanced",
        body_part="Chest",
        department="General practice",
        requester_name="Li Lan",
        technician_name="Ma Qiang",
        clinical_information="Cough for two weeks; smoker, 30 pack years.",
        technique="Helical acquisition at full inspiration, 1.25 mm slices, lung and mediastinal windows.",
        comparison="CT chest of 2025-10-08: the nodule is new.",
        findings="A ground-glass nodule of 8 × 6 mm in the apical segment of the right upper lobe. "
        "No consolidation.\nNo enlarged lymph nodes. Heart size normal. No pleural effusion.",
        impression=(
            "Ground-glass nodule, right upper lobe, 8 mm, Lung-RADS 3.",
            "No active disease otherwise.",
        ),
        recommendation="Low-dose CT in 3 months.",
        image_quality="A",
        recognition_mark="HR",
        author=dataclasses.replace(
            CHEN, name="Chen Yu", title="Attending", institution_name="Yunling County Hospital"
        ),
        reviewer=dataclasses.replace(
            WU, name="Wu Min", title="Senior", institution_name="Yunling County Hospital"
        ),
        key_images=(),
    )
    return dataclasses.replace(content, **changes)


def slice_picture(number: int, size: int = 512) -> KeyImage:
    """A round grey thing on black that a page may show as a CT slice."""
    y, x = np.mgrid[0:size, 0:size]
    r = np.hypot((x - size / 2) / 1.25, y - size / 2)
    body = np.where(r < size * 0.38, 90 + 70 * np.cos(r / (11 + number)), 0.0)
    noise = np.random.default_rng(number).normal(0, 5, body.shape)
    drawn = io.BytesIO()
    Image.fromarray((body + noise).clip(0, 255).astype("uint8")).save(drawn, "JPEG", quality=88)
    return KeyImage(data=drawn.getvalue(), media_type="image/jpeg", caption=f"轴位 Im {40 + 2 * number}")


def trace_picture() -> KeyImage:
    """Ten seconds of a made-up rhythm at 25 mm/s and 10 mm/mV on millimetre paper: 260 mm wide."""
    width, height = 260, 130
    lines = [
        f'<path d="M{x} 0V{height}" stroke-width="{0.18 if x % 5 == 0 else 0.06}"/>' for x in range(width + 1)
    ]
    lines += [
        f'<path d="M0 {y}H{width}" stroke-width="{0.18 if y % 5 == 0 else 0.06}"/>' for y in range(height + 1)
    ]
    waves = []
    for row in range(5):
        points = []
        for i in range(0, 2500, 2):
            t = i / 250
            beat = (t % 0.77) / 0.77
            mv = 0.12 * math.exp(-(((beat - 0.2) / 0.03) ** 2)) + 1.1 * math.exp(
                -(((beat - 0.38) / 0.011) ** 2)
            )
            mv += -0.25 * math.exp(-(((beat - 0.41) / 0.012) ** 2)) + 0.3 * math.exp(
                -(((beat - 0.65) / 0.06) ** 2)
            )
            points.append(f"{5 + t * 25:.2f},{18 + row * 24 - mv * 10:.2f}")
        waves.append(f'<polyline points="{" ".join(points)}"/>')
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg"'
        f' width="{width}mm" height="{height}mm" viewBox="0 0 {width} {height}">'
        f'<rect width="{width}" height="{height}" fill="#fff8f6"/><g stroke="#e9a8a0">{"".join(lines)}</g>'
        f'<g fill="none" stroke="#111" stroke-width="0.25" stroke-linejoin="round">{"".join(waves)}</g></svg>'
    )
    caption = "25 mm/s · 10 mm/mV · 0.05–150 Hz"
    return KeyImage(
        data=svg.encode(), media_type="image/svg+xml", caption=caption, true_width_mm=float(width)
    )
