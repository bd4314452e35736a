"""The ECG phantom, measured as a cart would: from its samples, knowing nothing of its making."""

import io

import numpy as np
import pytest
from pydicom import dcmread

from center.demo.phantoms.electrocardiogram import (
    LEADS,
    RATE_HZ,
    RHYTHMS,
    draw,
    electrocardiogram,
    frontal_axis,
    median_beat,
)
from tests.center.demo.people import exam

REGULAR = [name for name in RHYTHMS if name != "atrial-fibrillation"]


def beats(samples: np.ndarray) -> np.ndarray:
    """Times (s) of the R waves: where the summed slope of all leads peaks above half of its maximum."""
    slope = np.abs(np.diff(samples.astype(float), axis=1)).sum(axis=0)
    slope = np.convolve(slope, np.ones(20) / 20, mode="same")
    found = []
    above = np.flatnonzero(slope > 0.45 * np.percentile(slope, 99.5))
    for group in np.split(above, np.flatnonzero(np.diff(above) > 0.2 * RATE_HZ) + 1):
        found.append(group[slope[group].argmax()] / RATE_HZ)
    return np.array(found)


def activity(samples: np.ndarray, *, threshold: float) -> list[tuple[int, int]]:
    """Runs of samples in which the vector magnitude of the leads is above `threshold` (µV)."""
    size = np.sqrt((samples.astype(float) ** 2).sum(axis=0))
    above = np.flatnonzero(size > threshold)
    groups = np.split(above, np.flatnonzero(np.diff(above) > 2) + 1)
    return [(int(group[0]), int(group[-1])) for group in groups if len(group)]


@pytest.mark.parametrize("name", RHYTHMS)
def test_the_mean_r_r_interval_is_the_rate_that_was_asked_for(name: str) -> None:
    rhythm = RHYTHMS[name]

    intervals = np.diff(beats(draw(rhythm, seed=7)))

    assert 60 / intervals.mean() == pytest.approx(rhythm.rate, rel=0.12 if rhythm.fibrillation else 0.02)


@pytest.mark.parametrize("name", REGULAR)
def test_p_qrs_and_t_begin_and_end_where_they_were_asked_to(name: str) -> None:
    rhythm = RHYTHMS[name]

    runs = activity(median_beat(rhythm), threshold=4)

    onset = int(0.4 * RATE_HZ)
    qrs = next(run for run in runs if run[0] <= onset + 4 and run[1] > onset)
    last = runs[-1][1]
    milliseconds = 1000 / RATE_HZ
    assert (qrs[0] - runs[0][0]) * milliseconds == pytest.approx(rhythm.pr, abs=14)
    assert (last - onset) * milliseconds == pytest.approx(rhythm.qt, abs=14)


@pytest.mark.parametrize("name", ["sinus", "bradycardia", "tachycardia", "first-degree-block"])
def test_qrs_lasts_as_long_as_was_asked_for(name: str) -> None:
    rhythm = RHYTHMS[name]

    # Steep is only QRS: the slope of P and T stays far below.
    slope = np.abs(np.diff(median_beat(rhythm).astype(float), axis=1)).max(axis=0)
    steep = np.flatnonzero(slope > 12)
    near = steep[np.abs(steep - 0.4 * RATE_HZ) < 0.16 * RATE_HZ]

    assert (near[-1] - near[0] + 1) * 1000 / RATE_HZ == pytest.approx(rhythm.qrs, abs=12)


@pytest.mark.parametrize("name", RHYTHMS)
def test_the_frontal_axis_is_the_one_that_was_asked_for(name: str) -> None:
    rhythm = RHYTHMS[name]
    beat = median_beat(rhythm).astype(float)
    onset = int(0.4 * RATE_HZ)

    # Up to where the ST vector sets in, the net area of QRS in I and aVF gives the axis.
    stop = onset + int(rhythm.qrs * (0.6 if any(rhythm.st) else 1) / 1000 * RATE_HZ)
    axis = frontal_axis(beat[:, onset:stop])

    assert axis == pytest.approx(rhythm.axis, abs=14 if any(rhythm.st) else 3)


def test_fibrillation_is_irregular_and_has_no_p_wave() -> None:
    rhythm = RHYTHMS["atrial-fibrillation"]

    intervals = np.diff(beats(draw(rhythm, seed=7)))
    before_qrs = median_beat(rhythm)[:, : int(0.39 * RATE_HZ)]

    assert intervals.std() / intervals.mean() > 0.08
    assert np.abs(before_qrs).max() == 0


def test_inferior_infarction_lifts_iii_above_ii_and_lowers_avl() -> None:
    beat = dict(zip(LEADS, median_beat(RHYTHMS["inferior-stemi"]), strict=True))
    after_qrs = int((0.4 + 0.14) * RATE_HZ)

    level = {name: int(lead[after_qrs]) for name, lead in beat.items()}

    assert level["III"] > level["II"] > 100
    assert level["aVF"] > 100
    assert level["aVL"] < -100


def test_einthovens_law_holds_in_every_sample() -> None:
    leads = dict(zip(LEADS, draw(RHYTHMS["sinus"], seed=3).astype(int), strict=True))

    assert np.abs(leads["I"] + leads["III"] - leads["II"]).max() <= 2
    assert np.abs(leads["aVR"] + leads["aVL"] + leads["aVF"]).max() <= 2


def test_the_object_gives_back_its_samples_in_microvolts_and_its_measurements() -> None:
    dataset = electrocardiogram(exam(findings=("first-degree-block",)))
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)

    read = dcmread(io.BytesIO(stream.getvalue()))

    assert read.SOPClassUID == "1.2.840.10008.5.1.4.1.1.9.1.1"
    assert read.waveform_array(0).shape == (5000, 12)
    assert np.array_equal(read.waveform_array(0).T, draw(RHYTHMS["first-degree-block"], exam().seed))
    said = {
        item.ConceptNameCodeSequence[0].CodeValue: float(item.NumericValue)
        for item in read.WaveformAnnotationSequence
        if "NumericValue" in item
    }
    assert said["2:15872"] == 248  # PR
    assert said["2:16156"] == 92  # QRS
    assert said["2:16160"] == 396  # QT
    assert read.WaveformAnnotationSequence[-1].UnformattedTextValue == "窦性心律，一度房室传导阻滞"
    assert str(read.PatientName.ideographic) == "王^建国"
