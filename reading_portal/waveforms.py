"""DICOM waveforms (PS3.3 C.10.9) → microvolts per lead, what the device measured and wrote. Pure."""

from __future__ import annotations

import base64
import math
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reading_portal.decoding import CannotRender
from reading_portal.dicom_json import Attributes, first, text
from reading_portal.grayscale import Bulk
from reading_portal.image_format import number_in
from storage.attributes import values_of

WAVEFORM_SEQUENCE, WAVEFORM_DATA, PADDING = 0x54000100, 0x54001010, "5400100A"
MAX_SAMPLES = 20_000_000

# (Waveform Sample Interpretation, bits) → linear samples; MB and AB are logarithmic telephone codes.
SAMPLES = {
    ("SB", 8): "i1",
    ("UB", 8): "u1",
    ("SS", 16): "<i2",
    ("US", 16): "<u2",
    ("SL", 32): "<i4",
    ("UL", 32): "<u4",
}
# UCUM unit of the sensitivity → microvolts.
UNITS = {"nV": 1e-3, "uV": 1.0, "µV": 1.0, "mV": 1e3, "V": 1e6}

# SCP-ECG lead numbers, which MDC shares (ISO/IEEE 11073-10102). The code decides, text only where it lacks.
LEAD_NUMBERS = {
    1: "I",
    2: "II",
    3: "V1",
    4: "V2",
    5: "V3",
    6: "V4",
    7: "V5",
    8: "V6",
    9: "V7",
    11: "V3R",
    12: "V4R",
    61: "III",
    62: "aVR",
    63: "aVL",
    64: "aVF",
    66: "V8",
    67: "V9",
}
STANDARD = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
_LEAD_CODE = re.compile(r"^(?:5\.6\.3-9-|2:|MDC_ECG_LEAD_)(\w+)$")

# Einthoven and Goldberger: what follows from two limb leads.
DERIVED = {
    "III": (-1.0, 1.0),  # of I and II
    "aVR": (-0.5, -0.5),
    "aVL": (1.0, -0.5),
    "aVF": (-0.5, 1.0),
}

# Concept codes of measurements: SCP-ECG, MDC, LOINC, then words of devices that code nothing.
MEASUREMENTS = {
    "heart_rate": (
        {"8867-4", "2:16016", "5.10.2.5-1", "MDC_ECG_HEART_RATE"},
        r"^(ventricular )?(heart )?rate",
    ),
    "rr_ms": ({"5.10.2.1-3", "2:16168"}, r"^rr interval"),
    "pr_ms": ({"5.13.5-7", "2:15872", "8625-6"}, r"^pr (interval|duration)"),
    "qrs_ms": ({"5.13.5-9", "2:16156", "8633-0"}, r"^qrs (duration|interval)"),
    "qt_ms": ({"5.13.5-11", "2:16160", "8634-8"}, r"^qt interval"),
    "qtc_ms": ({"5.10.2.5-5", "2:15876", "2:15880", "8636-3"}, r"^qtc( interval)?|^qt interval corrected"),
    "p_axis": ({"5.10.3-11", "2:16128", "8626-4"}, r"^p( wave)? axis"),
    "qrs_axis": ({"5.10.3-13", "2:16132", "8632-2"}, r"^qrs axis"),
    "t_axis": ({"5.10.3-15", "2:16136"}, r"^t( wave)? axis"),
}


@dataclass(frozen=True, slots=True)
class Lead:
    """One lead; samples in microvolts, NaN in gaps. Uncalibrated ones are in the device's own units."""

    name: str
    unit: str  # mV, or "" where the device does not say what a step is worth
    calibrated: bool
    samples: NDArray[np.float64]
    is_derived: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """A multiplex group: leads that were sampled together."""

    label: str  # RHYTHM | MEDIAN BEAT
    originality: str
    sampling_frequency: float
    time_offset_ms: float
    leads: tuple[Lead, ...]
    filters: dict[str, float | None]

    @property
    def seconds(self) -> float:
        return len(self.leads[0].samples) / self.sampling_frequency

    def lead(self, name: str) -> Lead | None:
        return next((lead for lead in self.leads if lead.name == name), None)


@dataclass(frozen=True, slots=True)
class Ecg:
    """An ECG as the device recorded, measured and read it; nothing here is our own opinion."""

    groups: tuple[Group, ...]
    measurements: dict[str, float | None]
    statements: tuple[str, ...]
    annotations: tuple[dict[str, Any], ...] = field(default=())

    @property
    def rhythm(self) -> Group:
        return next((group for group in self.groups if group.label == "RHYTHM"), self.groups[0])


def read_ecg(header: Attributes, bulk: Bulk) -> Ecg:
    """Read the waveforms of an instance; `bulk` fetches the samples. Raises CannotRender with a sentence."""
    items = values_of(header, f"{WAVEFORM_SEQUENCE:08X}")
    groups = tuple(
        group for index, item in enumerate(items) if (group := _group(item or {}, index, bulk)) is not None
    )
    if not groups:
        raise CannotRender("This object holds no waveform that can be drawn.")
    annotations = [item for item in values_of(header, "0040B020") if item]
    return Ecg(
        groups=groups,
        measurements=_measurements(annotations),
        statements=tuple(said for item in annotations if (said := _statement(item))),
        annotations=tuple(_annotation(item) for item in annotations[:2000]),
    )


def ecg_json(ecg: Ecg) -> dict[str, Any]:
    """What the reading page draws from; samples are whole microvolts, null in gaps."""
    return {
        "sampling": ecg.rhythm.sampling_frequency,
        "groups": [
            {
                "label": group.label,
                "originality": group.originality,
                "sampling_frequency": group.sampling_frequency,
                "time_offset_ms": group.time_offset_ms,
                "leads": [
                    {
                        "name": lead.name,
                        "unit": lead.unit,
                        "calibrated": lead.calibrated,
                        "is_derived": lead.is_derived,
                        "samples_uv": _whole(lead.samples),
                    }
                    for lead in group.leads
                ],
                "filters": group.filters,
            }
            for group in ecg.groups
        ],
        "measurements": ecg.measurements,
        "statements": list(ecg.statements),
        "annotations": list(ecg.annotations),
    }


def _group(item: Attributes, index: int, bulk: Bulk) -> Group | None:
    channels = values_of(item, "003A0200")
    count, samples = number_in(item, "003A0005", 0), number_in(item, "003A0010", 0)
    frequency = _float(item, "003A001A")
    if not channels or count != len(channels) or samples <= 0 or not frequency or frequency <= 0:
        return None
    if count * samples > MAX_SAMPLES:
        raise CannotRender("The waveform is longer than this portal draws.")
    interpretation = (text(item, "54001006"), number_in(item, "54001004", 0))
    kind = SAMPLES.get(interpretation)
    if kind is None:
        raise CannotRender(
            f"Waveform samples of kind {interpretation[0]}, {interpretation[1]} bits, cannot be drawn."
        )
    data = bulk((WAVEFORM_SEQUENCE, index, WAVEFORM_DATA)) or _inline(item.get("54001010")) or b""
    size = np.dtype(kind).itemsize
    if len(data) < count * samples * size:
        raise CannotRender("The waveform data are shorter than their header says.")
    raw = np.frombuffer(data, kind, count=count * samples).reshape(samples, count)
    padding = _inline(item.get(PADDING))
    gap = int(np.frombuffer(padding[:size], kind)[0]) if padding and len(padding) >= size else None
    leads = [
        _lead(channel or {}, raw[:, number], gap, number, frequency)
        for number, channel in enumerate(channels)
    ]
    label, originality = text(item, "003A0020").upper(), text(item, "003A0004").upper()
    is_beat = "MEDIAN" in label or "BEAT" in label or (originality == "DERIVED" and index > 0)
    return Group(
        label="MEDIAN BEAT" if is_beat else "RHYTHM",
        originality=originality,
        sampling_frequency=frequency,
        time_offset_ms=_float(item, "00181068") or 0.0,
        leads=tuple(leads + _derived(leads)),
        filters=_filters(channels),
    )


def _lead(channel: Attributes, raw: NDArray[Any], gap: int | None, number: int, frequency: float) -> Lead:
    sensitivity = _float(channel, "003A0210")
    units = values_of(channel, "003A0211")
    factor = UNITS.get(text(units[0], "00080100")) if units and units[0] else None
    values = raw.astype(np.float64)
    calibrated = False
    if sensitivity is not None and factor is not None:
        calibrated = True
        correction, baseline = _float(channel, "003A0212"), _float(channel, "003A0213") or 0.0
        # C.10.9.1.4: the baseline is in the unit, after sensitivity and its correction.
        values = (values * sensitivity * (1.0 if correction is None else correction) + baseline) * factor
    if gap is not None:
        values[raw == gap] = np.nan
    # Time Skew is in seconds, Sample Skew in samples: this channel was sampled that much later.
    late = round((_float(channel, "003A0215") or 0.0) + (_float(channel, "003A0214") or 0.0) * frequency)
    if 0 < abs(late) < len(values):
        shifted = np.full_like(values, np.nan)
        shifted[max(late, 0) : len(values) + min(late, 0)] = values[
            max(-late, 0) : len(values) - max(late, 0)
        ]
        values = shifted
    return Lead(_lead_name(channel, number), "mV" if calibrated else "", calibrated, values)


def _lead_name(channel: Attributes, number: int) -> str:
    sources = values_of(channel, "003A0208")
    source = sources[0] if sources and sources[0] else {}
    code = text(source, "00080100")
    if match := _LEAD_CODE.match(code):
        word = match.group(1)
        if word.isdigit() and int(word) in LEAD_NUMBERS:
            return LEAD_NUMBERS[int(word)]
        if not word.isdigit():
            return _written(word)
    label = text(channel, "003A0203") or text(source, "00080104")
    label = re.sub(r"\s*\(.*\)", "", re.sub(r"(?i)^lead\s+", "", label)).strip()
    return _written(label) if label else f"{number + 1}"


def _written(name: str) -> str:
    if re.fullmatch(r"(?i)a?v[rlf]", name):
        return "aV" + name[-1].upper()
    return name.upper() if re.fullmatch(r"(?i)i{1,3}|v\dr?", name) else name


def _derived(leads: list[Lead]) -> list[Lead]:
    by_name = {lead.name: lead for lead in leads}
    one, two = by_name.get("I"), by_name.get("II")
    if one is None or two is None or one.calibrated != two.calibrated:
        return []
    return [
        Lead(name, one.unit, one.calibrated, a * one.samples + b * two.samples, is_derived=True)
        for name, (a, b) in DERIVED.items()
        if name not in by_name
    ]


def _filters(channels: Any) -> dict[str, float | None]:
    channel = next((one for one in channels if one and "003A0221" in one), channels[0] or {})
    notch = _float(channel, "003A0222")
    return {
        "low_hz": _float(channel, "003A0220"),
        "high_hz": _float(channel, "003A0221"),
        "notch_hz": notch or None,
    }


def _measurements(annotations: list[Attributes]) -> dict[str, float | None]:
    found: dict[str, float | None] = dict.fromkeys(MEASUREMENTS)
    for item in annotations:
        concept = values_of(item, "0040A043")
        value = _float(item, "0040A30A")
        if not concept or value is None:
            continue
        code, meaning = text(concept[0] or {}, "00080100"), text(concept[0] or {}, "00080104").lower()
        for name, (codes, words) in MEASUREMENTS.items():
            if found[name] is None and (code in codes or re.search(words, meaning)):
                found[name] = value
    rr = found.pop("rr_ms")
    if found["heart_rate"] is None and rr:
        found["heart_rate"] = float(round(60_000 / rr))
    return found


def _statement(item: Attributes) -> str:
    said = text(item, "00700006")
    return "" if values_of(item, "0040A30A") or values_of(item, "0040A132") else said.strip()


def _annotation(item: Attributes) -> dict[str, Any]:
    concept, units = values_of(item, "0040A043"), values_of(item, "004008EA")
    return {
        "name": text(concept[0], "00080104") if concept and concept[0] else None,
        "code": text(concept[0], "00080100") if concept and concept[0] else None,
        "text": text(item, "00700006") or None,
        "value": _float(item, "0040A30A"),
        "unit": text(units[0], "00080100") if units and units[0] else None,
        # Samples are counted from 1 (C.10.10.1.2).
        "positions": [int(value) for value in values_of(item, "0040A132") if value is not None],
        "channels": [int(value) for value in values_of(item, "0040A0B0") if value is not None],
        "group": first(item, "0040A180"),
    }


def _whole(samples: NDArray[np.float64]) -> list[int | None]:
    if np.isfinite(samples).all():
        whole: list[int | None] = np.rint(samples).astype(np.int64).tolist()
        return whole
    return [None if math.isnan(value) else round(value) for value in samples.tolist()]


def _inline(element: Attributes | None) -> bytes | None:
    if not element:
        return None
    if "InlineBinary" in element:
        return base64.b64decode(element["InlineBinary"])
    values = element.get("Value")
    return np.asarray(values).astype("<i2").tobytes() if values else None


def _float(attributes: Attributes, tag: str) -> float | None:
    try:
        value = float(first(attributes, tag))
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None
