"""A 12-lead ECG from a moving heart vector, with intervals that are known because they were asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from center.demo.phantoms.exam import Exam, code, start_instance

RATE_HZ = 500
SECONDS = 10
TWELVE_LEAD_ECG = "1.2.840.10008.5.1.4.1.1.9.1.1"
Wave = NDArray[np.float64]

# Dower's lead vectors: x to the left, y to the feet, z to the back; the other four limb leads follow.
DOWER = {
    "I": (0.632, -0.235, 0.059),
    "II": (0.235, 1.066, -0.132),
    "V1": (-0.515, 0.157, -0.917),
    "V2": (0.044, 0.164, -1.387),
    "V3": (0.882, 0.098, -1.277),
    "V4": (1.213, 0.127, -0.601),
    "V5": (1.125, 0.127, -0.086),
    "V6": (0.831, 0.076, 0.230),
}
# In the order in which carts store them, with their codes (PS3.16 CID 3001).
LEADS = {
    "I": "2:1",
    "II": "2:2",
    "III": "2:61",
    "aVR": "2:62",
    "aVL": "2:63",
    "aVF": "2:64",
    "V1": "2:3",
    "V2": "2:4",
    "V3": "2:5",
    "V4": "2:6",
    "V5": "2:7",
    "V6": "2:8",
}
MEANINGS = {
    **{name: f"Lead {name}" for name in LEADS},
    "aVR": "aVR, augmented voltage, right",
    "aVL": "aVL, augmented voltage, left",
    "aVF": "aVF, augmented voltage, foot",
}


@dataclass(frozen=True)
class Rhythm:
    """What the heart does: intervals in ms, QRS axis in degrees, vectors in mV (x left, y feet, z back)."""

    statement: str
    rate: float = 72
    pr: float | None = 160
    p_duration: float = 104
    qrs: float = 92
    qt: float = 390
    axis: float = 45
    gain: float = 1.0
    septal: tuple[float, float, float] = (-0.20, -0.06, -0.35)
    main: tuple[float, float, float] = (1.15, 0.95, 0.66)
    terminal: tuple[float, float, float] = (-0.20, -0.16, 0.34)
    st: tuple[float, float, float] = (0.0, 0.0, 0.0)
    t: tuple[float, float, float] = (0.32, 0.26, -0.16)
    irregular: float = 0.012
    fibrillation: float = 0.0


RHYTHMS = {
    "sinus": Rhythm("窦性心律，正常心电图"),
    "bradycardia": Rhythm("窦性心动过缓", rate=48, qt=430, axis=62),
    "tachycardia": Rhythm("窦性心动过速", rate=112, pr=140, qt=318, axis=55),
    "first-degree-block": Rhythm("窦性心律，一度房室传导阻滞", rate=66, pr=248, qt=396, axis=30),
    "atrial-fibrillation": Rhythm(
        "心房颤动，快速心室率",
        rate=106,
        pr=None,
        qrs=88,
        qt=330,
        axis=38,
        irregular=0.2,
        fibrillation=0.05,
        t=(0.16, 0.12, -0.08),
    ),
    # Inferior injury: the ST vector points to the feet, a little to the right: III above II, aVL below.
    "inferior-stemi": Rhythm(
        "窦性心律，下壁ST段抬高，考虑急性下壁心肌梗死，请立即处理",
        rate=88,
        pr=172,
        qrs=96,
        qt=372,
        axis=58,
        septal=(0.05, -0.34, -0.22),
        st=(-0.11, 0.30, 0.05),
        t=(-0.06, 0.42, 0.06),
    ),
    # Voltage to the left and back, and ST-T against it: the strain of V5, V6, I, aVL.
    "left-ventricular-hypertrophy": Rhythm(
        "窦性心律，左心室肥大伴ST-T改变",
        rate=74,
        pr=176,
        qrs=106,
        qt=402,
        axis=-8,
        gain=1.0,
        main=(2.1, 0.75, 1.35),
        terminal=(-0.25, -0.2, 0.55),
        st=(-0.10, -0.02, -0.10),
        t=(-0.30, -0.06, -0.34),
    ),
}


def _bump(time: Wave, start: float, stop: float, peak: float) -> Wave:
    """A raised cosine that is zero outside start..stop (s) and 1 at peak: no tail blurs an interval."""
    rise = (time - start) / (peak - start)
    fall = (stop - time) / (stop - peak)
    phase = np.clip(np.where(time < peak, rise, fall), 0, 1)
    shape: Wave = 0.5 - 0.5 * np.cos(np.pi * phase)
    return shape


def _turn(vector: tuple[float, float, float], degrees: float) -> Wave:
    """The vector turned clockwise (to the feet) in the frontal plane."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y, z = vector
    return np.array([c * x - s * y, s * x + c * y, z])


def _qrs(time: Wave, rhythm: Rhythm, turned: float) -> Wave:
    """The ventricular loop (3 × n, mV) from time 0 to the QRS duration: septum, free walls, base."""
    d = rhythm.qrs / 1000
    parts = (
        (rhythm.septal, 0.0, 0.42 * d, 0.20 * d),
        (rhythm.main, 0.14 * d, 0.84 * d, 0.46 * d),
        (rhythm.terminal, 0.52 * d, d, 0.76 * d),
    )
    return sum(
        (np.outer(_turn(v, turned), _bump(time, a, b, p)) for v, a, b, p in parts), np.zeros((3, time.size))
    )


def project(vector: Wave) -> Wave:
    """The heart vector (3 × n, mV) as the 12 leads (12 × n, mV) in the order of LEADS."""
    eight = {name: np.array(lead) @ vector for name, lead in DOWER.items()}
    one, two = eight["I"], eight["II"]
    limbs = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2]
    return np.vstack([*limbs, *(eight[f"V{n}"] for n in range(1, 7))])


def frontal_axis(leads: Wave) -> float:
    """Degrees of the net QRS in the frontal plane, from the areas of I and aVF (12 × n in, QRS only)."""
    one, foot = leads[0].sum(), leads[5].sum()
    return math.degrees(math.atan2(foot * 2 / math.sqrt(3), one))


def _turn_for_axis(rhythm: Rhythm) -> float:
    """How far to turn the loop so that the measured axis is the one asked for."""
    time = np.arange(0, rhythm.qrs / 1000, 1 / 2000)
    net = _qrs(time, rhythm, 0.0).sum(axis=1)

    def miss(turned: float) -> float:
        leads = project(_turn((net[0], net[1], net[2]), turned)[:, None])
        return abs((rhythm.axis - frontal_axis(leads) + 180) % 360 - 180)

    # Dower's limb leads are not orthogonal, so the turn is looked for, not computed.
    return min((turn / 4 for turn in range(-720, 720)), key=miss)


def _beat(time: Wave, rhythm: Rhythm, turned: float) -> Wave:
    """One beat (3 × n, mV); time 0 is the onset of QRS. It ends, flat, at the QT interval."""
    d, qt = rhythm.qrs / 1000, rhythm.qt / 1000
    vector = rhythm.gain * _qrs(time, rhythm, turned)
    if rhythm.pr is not None:
        start, stop = -rhythm.pr / 1000, (rhythm.p_duration - rhythm.pr) / 1000
        middle = (start + stop) / 2
        right = _bump(time, start, stop - 0.02, middle - 0.012)
        left = _bump(time, start + 0.02, stop, middle + 0.014)
        vector += np.outer((0.04, 0.10, -0.05), right) + np.outer((0.07, 0.06, 0.04), left)
    # The ST vector rises with the last of QRS and hands over to T.
    injury = _bump(time, 0.62 * d, qt - 0.02, d + 0.35 * (qt - d))
    plateau = np.where((time > d) & (time < d + 0.35 * (qt - d)), 1.0, injury)
    edge = _bump(time, 0.62 * d, 4 * d, d)
    plateau = np.where(time <= d, edge, plateau)
    vector += np.outer(rhythm.st, plateau)
    vector += np.outer(rhythm.t, _bump(time, d + 0.22 * (qt - d), qt, qt - 0.36 * (qt - d)))
    return vector


def beat_onsets(rhythm: Rhythm, seed: int) -> Wave:
    """The QRS onsets (s) of the ten seconds; their mean interval is 60 / rate."""
    random = np.random.default_rng([seed, 1])
    count = math.ceil(SECONDS * rhythm.rate / 60) + 2
    mean = 60 / rhythm.rate
    if rhythm.fibrillation:
        intervals = mean * np.exp(random.normal(0, rhythm.irregular, count))
        # The ventricle cannot follow before it has repolarised.
        intervals = np.maximum(intervals, rhythm.qt / 1000 + 0.03)
    else:
        breath = np.sin(2 * np.pi * (np.arange(count) * mean / 4.2 + random.random()))
        intervals = mean * (1 + rhythm.irregular * breath)
    intervals *= mean / intervals.mean()
    return 0.35 + random.random() * 0.2 + np.concatenate([[0], np.cumsum(intervals)])


def draw(rhythm: Rhythm, seed: int) -> NDArray[np.int16]:
    """Ten seconds of twelve leads: int16 microvolts, 12 × 5000."""
    random = np.random.default_rng([seed, 2])
    time = np.arange(RATE_HZ * SECONDS) / RATE_HZ
    turned = _turn_for_axis(rhythm)
    vector = np.zeros((3, time.size))
    for onset in beat_onsets(rhythm, seed):
        near = slice(*np.searchsorted(time, (onset - 0.4, onset + 0.7)))
        vector[:, near] += _beat(time[near] - onset, rhythm, turned)
    if rhythm.fibrillation:
        wobble = np.cumsum(6.2 + np.repeat(random.normal(0, 2.2, time.size // 50), 50)) / RATE_HZ
        flutter = np.sin(2 * np.pi * wobble) + 0.4 * np.sin(4 * np.pi * wobble + 1)
        vector += np.outer((-0.3, 0.7, -0.8), rhythm.fibrillation * flutter)
    leads = project(vector)
    # An electrode's potential drifts with breath and skin, and the muscles under it murmur; both enter the
    # leads as electrodes do, so that Einthoven's law holds in the noise as well.
    electrodes = np.zeros((8, time.size))
    for row in electrodes:
        for hertz, size in ((0.24, 0.022), (0.09, 0.014), (0.61, 0.006)):
            row += size * np.sin(2 * np.pi * (hertz * time + random.random()))
        murmur = random.normal(0, 0.008, time.size)
        row += np.convolve(murmur, (0.25, 0.5, 0.25), mode="same")
        row += 0.0015 * np.sin(2 * np.pi * (50 * time + random.random()))
    one, two, *chest = electrodes
    leads += np.vstack([one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2, *chest])
    return np.round(leads * 1000).astype(np.int16)


def median_beat(rhythm: Rhythm) -> NDArray[np.int16]:
    """The representative beat: int16 microvolts, 12 × 600 (1.2 s, QRS onset at 0.4 s)."""
    time = np.arange(600) / RATE_HZ - 0.4
    return np.round(project(_beat(time, rhythm, _turn_for_axis(rhythm))) * 1000).astype(np.int16)


def _channel(name: str, number: int) -> Dataset:
    channel = Dataset()
    channel.WaveformChannelNumber = number
    channel.ChannelLabel = name
    channel.ChannelSourceSequence = Sequence([code(LEADS[name], "MDC", MEANINGS[name])])
    channel.ChannelSensitivity = "1"
    channel.ChannelSensitivityUnitsSequence = Sequence([code("uV", "UCUM", "microvolt")])
    channel.ChannelSensitivityCorrectionFactor = "1"
    channel.ChannelBaseline = "0"
    channel.ChannelTimeSkew = "0"
    channel.WaveformBitsStored = 16
    channel.FilterLowFrequency, channel.FilterHighFrequency = "0.05", "150"
    channel.NotchFilterFrequency = "0"
    return channel


def _multiplex(samples: NDArray[np.int16], label: str, originality: str) -> Dataset:
    group = Dataset()
    group.WaveformOriginality = originality
    group.NumberOfWaveformChannels = samples.shape[0]
    group.NumberOfWaveformSamples = samples.shape[1]
    group.SamplingFrequency = str(RATE_HZ)
    group.MultiplexGroupLabel = label
    group.ChannelDefinitionSequence = Sequence([_channel(name, n) for n, name in enumerate(LEADS, 1)])
    group.WaveformBitsAllocated = 16
    group.WaveformSampleInterpretation = "SS"
    group.WaveformData = samples.T.astype("<i2").tobytes()
    return group


def _measurements(rhythm: Rhythm) -> list[Dataset]:
    """What the cart measured, coded as PS3.16 CID 3227 to 3229 say, and its statement in words."""
    rr = 60000 / rhythm.rate
    bazett = rhythm.qt / math.sqrt(rr / 1000)
    rows = [("2:16168", "RR interval global", rr, "ms")]
    if rhythm.pr is not None:
        rows.append(("2:15872", "PR interval global", rhythm.pr, "ms"))
        rows.append(("2:16184", "P duration global", rhythm.p_duration, "ms"))
    rows.append(("2:16156", "QRS duration global", rhythm.qrs, "ms"))
    rows.append(("2:16160", "QT interval global", rhythm.qt, "ms"))
    rows.append(("2:15880", "QTc global using Bazett formula", bazett, "ms"))
    rows.append(("2:16132", "QRS axis", rhythm.axis, "deg"))
    annotations = []
    for value, meaning, number, unit in rows:
        item = Dataset()
        item.ReferencedWaveformChannels = [1, 0]
        item.ConceptNameCodeSequence = Sequence([code(value, "MDC", meaning)])
        item.MeasurementUnitsCodeSequence = Sequence(
            [code(unit, "UCUM", {"ms": "millisecond", "deg": "degree"}[unit])]
        )
        item.NumericValue = str(round(number))
        item.AnnotationGroupNumber = 1
        annotations.append(item)
    words = Dataset()
    words.ReferencedWaveformChannels = [1, 0]
    words.UnformattedTextValue = rhythm.statement
    words.AnnotationGroupNumber = 2
    return [*annotations, words]


def electrocardiogram(exam: Exam) -> Dataset:
    """A 12-Lead ECG Waveform object (PS3.3 A.34.3): the rhythm strip, the median beat, measurements.

    The rhythm is the finding that RHYTHMS knows; without one, sinus rhythm.
    """
    name = next((finding for finding in exam.findings if finding in RHYTHMS), "sinus")
    rhythm = RHYTHMS[name]
    dataset = start_instance(
        exam,
        sop_class_uid=TWELVE_LEAD_ECG,
        modality="ECG",
        series=1,
        instance=1,
        series_description="静息十二导联心电图",
        equipment=("Yunling Demo", "ECG-1200"),
    )
    del dataset.AcquisitionDate, dataset.AcquisitionTime  # a waveform says it in AcquisitionDateTime
    dataset.AcquisitionDateTime = exam.acquired_at.strftime("%Y%m%d%H%M%S")
    dataset.AcquisitionContextSequence = Sequence([])
    dataset.WaveformAnnotationSequence = Sequence(_measurements(rhythm))
    dataset.WaveformSequence = Sequence(
        [
            _multiplex(draw(rhythm, exam.seed), "RHYTHM", "ORIGINAL"),
            _multiplex(median_beat(rhythm), "MEDIAN BEAT", "DERIVED"),
        ]
    )
    return dataset
