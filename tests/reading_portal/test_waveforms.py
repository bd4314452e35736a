"""An ECG is told in microvolts whatever the device's units, and drawn in exact millimetres."""

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from reading_portal.ecg_paper import ecg_svg, page_width
from reading_portal.rendering import CannotRender
from reading_portal.waveforms import Ecg, Lead, ecg_json, read_ecg
from tests.corpora import corpus, corpus_files
from tests.reading_portal.stored_files import stored

SVG = "{http://www.w3.org/2000/svg}"
LEADS = {
    "I": "2:1",
    "II": "2:2",
    "V1": "2:3",
    "V2": "2:4",
    "V3": "2:5",
    "V4": "2:6",
    "V5": "2:7",
    "V6": "2:8",
}


def element(vr: str, *values: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)}


def a_channel(code: str, **changes: dict[str, Any]) -> dict[str, Any]:
    channel = {
        "003A0208": element("SQ", {"00080100": element("SH", code), "00080104": element("LO", "Lead ?")}),
        "003A0210": element("DS", 2.5),
        "003A0211": element("SQ", {"00080100": element("SH", "uV")}),
        "003A0212": element("DS", 1),
        "003A0213": element("DS", 0),
    }
    return channel | changes


def an_ecg(
    samples: NDArray[np.int16],
    channels: list[dict[str, Any]],
    frequency: float = 500,
    **changes: dict[str, Any],
) -> Ecg:
    """Read an ECG of samples × channels; `changes` replace attributes of its multiplex group."""
    group = {
        "003A0004": element("CS", "ORIGINAL"),
        "003A0005": element("US", samples.shape[1]),
        "003A0010": element("UL", samples.shape[0]),
        "003A001A": element("DS", frequency),
        "003A0020": element("SH", "RHYTHM"),
        "003A0200": element("SQ", *channels),
        "54001004": element("US", 16),
        "54001006": element("CS", "SS"),
    } | changes
    header = {"54000100": element("SQ", group)}
    return read_ecg(header, lambda path: samples.astype("<i2").tobytes() if path[-1] == 0x54001010 else None)


def eight_leads(seconds: float = 10, frequency: float = 500) -> Ecg:
    count = int(seconds * frequency)
    samples = np.random.default_rng(1).integers(-400, 400, (count, len(LEADS))).astype(np.int16)
    return an_ecg(samples, [a_channel(code) for code in LEADS.values()], frequency)


def lead(ecg: Ecg, name: str) -> Lead:
    found = ecg.rhythm.lead(name)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("changes", "microvolts"),
    [
        ({}, 250.0),
        ({"003A0212": element("DS", 4)}, 1000.0),
        ({"003A0213": element("DS", 7)}, 257.0),
        (
            {
                "003A0211": element("SQ", {"00080100": element("SH", "mV")}),
                "003A0210": element("DS", 0.00122),
            },
            122.0,
        ),
        ({"003A0211": element("SQ", {"00080100": element("SH", "nV")})}, 0.25),
    ],
)
def test_samples_become_microvolts_by_sensitivity_correction_baseline_and_unit(
    changes: dict[str, Any], microvolts: float
) -> None:
    ecg = an_ecg(np.array([[100], [0]], np.int16), [a_channel("2:1", **changes)])
    assert lead(ecg, "I").samples[0] == pytest.approx(microvolts)


def test_a_lead_without_sensitivity_is_uncalibrated_and_says_so() -> None:
    channel = a_channel("2:1")
    del channel["003A0210"]

    ecg = an_ecg(np.array([[100], [0]], np.int16), [channel])

    assert (lead(ecg, "I").calibrated, lead(ecg, "I").unit) == (False, "")
    assert "uncalibrated" in ecg_svg(ecg)


def test_padding_is_a_gap_and_not_a_voltage() -> None:
    samples = np.array([[100], [-32768], [100]], np.int16)

    ecg = an_ecg(samples, [a_channel("2:1")], **{"5400100A": {"vr": "OW", "InlineBinary": "AIA="}})

    assert ecg_json(ecg)["groups"][0]["leads"][0]["samples_uv"] == [250, None, 250]


def test_a_skewed_channel_is_set_right_in_time() -> None:
    samples = np.array([[1, 1], [2, 2], [3, 3], [4, 4]], np.int16)
    skewed = a_channel("2:2", **{"003A0215": element("DS", 1)})

    ecg = an_ecg(samples, [a_channel("2:1"), skewed])

    assert np.isnan(lead(ecg, "II").samples[0])
    assert lead(ecg, "II").samples[1:].tolist() == [2.5, 5.0, 7.5]


def test_limb_leads_that_the_device_left_out_follow_from_two() -> None:
    ecg = eight_leads()
    one, two = lead(ecg, "I").samples, lead(ecg, "II").samples

    assert np.allclose(lead(ecg, "III").samples, two - one)
    assert np.allclose(lead(ecg, "aVR").samples, -(one + two) / 2)
    assert np.allclose(lead(ecg, "aVL").samples, one - two / 2)
    assert np.allclose(lead(ecg, "aVF").samples, two - one / 2)
    assert lead(ecg, "aVF").is_derived
    assert not lead(ecg, "I").is_derived


@pytest.mark.parametrize(
    ("code", "meaning", "name"),
    [
        ("5.6.3-9-61", "nonsense", "III"),
        ("2:62", "", "aVR"),
        ("MDC_ECG_LEAD_V1", "", "V1"),
        ("MDC_ECG_LEAD_AVL", "", "aVL"),
        ("", "Lead I (Einthoven)", "I"),
        ("", "lead aVf", "aVF"),
        ("", "v5", "V5"),
        ("", "Pleth", "Pleth"),
    ],
)
def test_a_lead_is_known_by_its_code_and_else_by_its_words(code: str, meaning: str, name: str) -> None:
    source = element("SQ", {"00080100": element("SH", code), "00080104": element("LO", meaning)})
    ecg = an_ecg(np.zeros((4, 1), np.int16), [a_channel("", **{"003A0208": source})])
    assert ecg.rhythm.leads[0].name == name


@pytest.mark.parametrize(
    "changes",
    [
        {"54001006": element("CS", "MB"), "54001004": element("US", 8)},
        {"003A0010": element("UL", 999)},
        {"003A0010": element("UL", 2**31)},
        {"003A001A": element("DS", 0)},
        {"003A0005": element("US", 7)},
        {"003A0200": element("SQ")},
    ],
)
def test_a_waveform_that_cannot_be_drawn_says_why(changes: dict[str, Any]) -> None:
    with pytest.raises(CannotRender, match=r"\.$"):
        an_ecg(np.zeros((4, 1), np.int16), [a_channel("2:1")], **changes)


def test_paper_is_true_to_scale() -> None:
    # A square pulse of 1 mV from 1.0 s to 1.2 s in lead I, which stands in the first column.
    samples = np.zeros((5000, 2), np.int16)
    samples[500:600, 0] = 400
    channels = [a_channel("2:1"), a_channel("2:2")] + [a_channel(f"2:{number}") for number in range(3, 9)]
    wide = np.concatenate([samples, np.zeros((5000, 6), np.int16)], axis=1)
    ecg = an_ecg(wide, channels)

    paper = ElementTree.fromstring(ecg_svg(ecg))

    assert paper.get("width") == "268mm" == f"{page_width(ecg):g}mm"
    assert paper.get("viewBox", "").startswith("0 0 268 ")
    traces = {path.get("data-lead"): path for path in paper.iter(f"{SVG}path") if path.get("data-lead")}
    numbers = [float(text) for text in re.findall(r"-?[\d.]+", traces["I"].get("d", ""))]
    x, y = np.array(numbers[0::2]), np.array(numbers[1::2])
    high = x[y < y.min() + 0.01]
    assert y.max() - y.min() == pytest.approx(10.0, abs=0.02)
    assert high.min() - x.min() == pytest.approx(25.0, abs=0.1)
    assert high.max() - high.min() == pytest.approx(5.0, abs=0.11)
    assert len(traces) == 12


def test_every_peak_survives_the_thinning_of_a_fast_recording() -> None:
    samples = np.zeros((10_000, 8), np.int16)
    samples[1777, 0] = 800  # one sample at 1000 Hz
    ecg = an_ecg(samples, [a_channel(code) for code in LEADS.values()], 1000)

    drawn = ecg_svg(ecg, speed=25, gain=10)

    first = re.search(r'data-lead="I"[^>]* d="([^"]*)"', drawn)
    assert first is not None
    heights = [float(text) for text in re.findall(r"-?[\d.]+", first.group(1))][1::2]
    assert max(heights) - min(heights) == pytest.approx(20.0, abs=0.02)


@pytest.mark.parametrize("path", corpus_files("ecg_dicom"), ids=lambda path: path.name)
def test_real_ecgs_have_the_voltages_that_pydicom_computes(path: Path, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(path)
    file = stored(path.read_bytes(), tmp_path)

    ecg = read_ecg(file.attributes, file.bulk)

    factor = {"uV": 1, "mV": 1000}
    for number, group in enumerate(ecg.groups):
        item = dataset.WaveformSequence[number]
        expected = dataset.waveform_array(number)
        for channel, found in enumerate(group.leads[: expected.shape[1]]):
            definition = item.ChannelDefinitionSequence[channel]
            unit = definition.ChannelSensitivityUnitsSequence[0].CodeValue
            # pydicom multiplies by the correction factor too.
            assert np.allclose(found.samples, expected[:, channel] * factor[unit], equal_nan=True)
    assert {"I", "II", "III", "aVR", "aVL", "aVF", "V1", "V6"} <= {one.name for one in ecg.rhythm.leads}


def test_what_the_device_measured_and_wrote_is_told_as_its_own(tmp_path: Path) -> None:
    file = stored(corpus("ecg_dicom", "pydicom__waveform_ecg.dcm").read_bytes(), tmp_path)

    told = ecg_json(read_ecg(file.attributes, file.bulk))

    assert told["measurements"] == {
        "heart_rate": 61.0,
        "pr_ms": 161.0,
        "qrs_ms": 75.0,
        "qt_ms": 368.0,
        "qtc_ms": 370.0,
        "p_axis": 74.0,
        "qrs_axis": 52.0,
        "t_axis": 57.0,
    }
    assert told["statements"] == ["RITMO SINUSALE", "ECG NORMALE"]
    assert [group["label"] for group in told["groups"]] == ["RHYTHM", "MEDIAN BEAT"]
    assert told["groups"][0]["filters"] == {"low_hz": 0.05, "high_hz": 300.0, "notch_hz": None}
