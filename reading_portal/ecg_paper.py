"""An ECG on paper: an SVG whose user unit is the millimetre, so that speed, gain and print are exact. Pure.

Drawn on the server for the first paint, and as the picture in the report. No scripts, no styles: every
attribute stands on its element, so that a strict CSP and a PDF take it alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from reading_portal.waveforms import STANDARD, Ecg, Group, Lead

LEFT, TOP, RIGHT, BOTTOM = 12.0, 14.0, 6.0, 8.0  # mm around the traces
SECONDS = 10.0  # on one page
COLUMNS = (STANDARD[0:3], STANDARD[3:6], STANDARD[6:9], STANDARD[9:12])
RHYTHM_LEAD = "II"
STEP = 0.1  # mm: within one step the highest and the lowest sample are drawn, so no R peak is lost
GRID_FINE, GRID_COARSE, INK = "#f3b7ab", "#e2796a", "#101418"


@dataclass(frozen=True, slots=True)
class Strip:
    """One lead at one place of the page; x, y in mm, times in seconds."""

    lead: Lead
    x: float
    y: float
    begin: float
    end: float


def ecg_svg(ecg: Ecg, *, speed: float = 25.0, gain: float = 10.0, caption: str = "") -> str:
    """The rhythm as 3 × 4 + 1 at `speed` mm/s and `gain` mm/mV; leads below each other where it is no
    12-lead ECG. `caption` is printed in the corner. Uncalibrated leads are drawn flat to half the row and
    say so.
    """
    group = ecg.rhythm
    strips, height = _standard(group, speed, gain) if _is_standard(group) else _rows(group, speed, gain)
    width = page_width(ecg, speed=speed)
    body = [_grid(width, height)]
    body += [_pulse(strip.y, gain) for strip in strips if strip.x == LEFT and strip.lead.calibrated]
    for strip in strips:
        body.append(_trace(strip, group.sampling_frequency, speed, gain))
        body.append(_text(strip.x + 0.8, strip.y - gain * 0.72, _label(strip.lead), 3.4))
    body.append(
        _text(4, 4.8, " · ".join(part for part in (caption, _settings(group, speed, gain)) if part), 3.0)
    )
    body.append(_text(4, 9.4, _measured(ecg), 3.0))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}mm" height="{height:g}mm" role="img">{"".join(body)}</svg>'
    )


def page_width(ecg: Ecg, *, speed: float = 25.0) -> float:
    """Width of the picture in mm: at this width it is true to scale."""
    return LEFT + min(ecg.rhythm.seconds, SECONDS) * speed + RIGHT


def _is_standard(group: Group) -> bool:
    return all(group.lead(name) is not None for name in STANDARD)


def _standard(group: Group, speed: float, gain: float) -> tuple[list[Strip], float]:
    row = max(22.0, gain * 2.4)
    seconds = min(group.seconds, SECONDS)
    part = seconds / len(COLUMNS)
    strips = []
    for column, names in enumerate(COLUMNS):
        for line, name in enumerate(names):
            lead = group.lead(name)
            assert lead is not None
            begin = column * part
            strips.append(Strip(lead, LEFT + begin * speed, TOP + (line + 0.5) * row, begin, begin + part))
    rhythm = group.lead(RHYTHM_LEAD)
    assert rhythm is not None
    strips.append(Strip(rhythm, LEFT, TOP + 3.5 * row, 0.0, seconds))
    return strips, TOP + 4 * row + BOTTOM


def _rows(group: Group, speed: float, gain: float) -> tuple[list[Strip], float]:
    row = max(14.0, gain * 1.6)
    leads = group.leads[:16]
    seconds = min(group.seconds, SECONDS)
    strips = [Strip(lead, LEFT, TOP + (line + 0.5) * row, 0.0, seconds) for line, lead in enumerate(leads)]
    return strips, TOP + len(leads) * row + BOTTOM


def _trace(strip: Strip, frequency: float, speed: float, gain: float) -> str:
    begin, end = round(strip.begin * frequency), round(strip.end * frequency)
    samples = strip.lead.samples[begin:end]
    if strip.lead.calibrated:
        heights = samples / 1000.0 * gain
    else:
        centred = samples - np.nanmedian(samples) if np.isfinite(samples).any() else samples
        heights = centred / max(float(np.nanmax(np.abs(centred), initial=1.0)), 1e-9) * gain
    x = strip.x + np.arange(len(samples)) / frequency * speed
    x, y = _thinned(x, strip.y - heights, max(1, int(frequency * STEP / speed)))
    runs = []
    for run in np.split(np.arange(len(y)), np.flatnonzero(np.diff(np.isfinite(y).astype(np.int8))) + 1):
        if len(run) and np.isfinite(y[run[0]]):
            points = " ".join(
                f"{a:.2f} {b:.2f}" for a, b in zip(x[run].tolist(), y[run].tolist(), strict=True)
            )
            runs.append(f"M{points}")
    name = escape(strip.lead.name, quote=True)
    return (
        f'<path data-lead="{name}" fill="none" stroke="{INK}" stroke-width="0.25" '
        f'stroke-linejoin="round" d="{"".join(runs)}"/>'
    )


def _thinned(
    x: NDArray[np.float64], y: NDArray[np.float64], step: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The lowest and the highest sample of every `step`, in their order in time."""
    whole = len(y) // step * step
    if step <= 2 or not np.isfinite(y).all() or not whole:
        return x, y
    blocks = y[:whole].reshape(-1, step)
    start = np.arange(0, whole, step)
    ends = np.sort(np.stack([start + blocks.argmin(1), start + blocks.argmax(1)], axis=1), axis=1).ravel()
    kept = np.unique(np.concatenate([ends, np.arange(whole, len(y))]))
    return x[kept], y[kept]


def _grid(width: float, height: float) -> str:
    def lines(step: int) -> str:
        down = "".join(f"M{x} 0V{height:g}" for x in range(0, int(width) + 1, step))
        return down + "".join(f"M0 {y}H{width:g}" for y in range(0, int(height) + 1, step))

    return (
        f'<rect width="{width:g}" height="{height:g}" fill="#ffffff"/>'
        f'<path d="{lines(1)}" fill="none" stroke="{GRID_FINE}" stroke-width="0.08"/>'
        f'<path d="{lines(5)}" fill="none" stroke="{GRID_COARSE}" stroke-width="0.18"/>'
    )


def _pulse(y: float, gain: float) -> str:
    """1 mV, 5 mm wide at any speed."""
    shape = f"M{LEFT - 9:g} {y:g}h1.5v{-gain:g}h5v{gain:g}h1.5"
    return f'<path d="{shape}" fill="none" stroke="{INK}" stroke-width="0.25"/>'


def _text(x: float, y: float, words: str, size: float) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{INK}" '
        f'font-family="Source Han Sans SC, Noto Sans CJK SC, sans-serif">{escape(words)}</text>'
    )


def _label(lead: Lead) -> str:
    return lead.name if lead.calibrated else f"{lead.name} (未定标 uncalibrated)"


def _settings(group: Group, speed: float, gain: float) -> str:
    low, high, notch = (group.filters.get(name) for name in ("low_hz", "high_hz", "notch_hz"))
    band = f"{_number(low)}–{_number(high)} Hz" if low is not None or high is not None else ""
    parts = [f"{speed:g} mm/s", f"{gain:g} mm/mV", band, f"{notch:g} Hz notch" if notch else ""]
    return " · ".join(part for part in [*parts, f"{group.sampling_frequency:g} Hz"] if part)


def _measured(ecg: Ecg) -> str:
    said = ecg.measurements
    words = [
        ("HR", "heart_rate", "/min"),
        ("PR", "pr_ms", " ms"),
        ("QRS", "qrs_ms", " ms"),
        ("QT", "qt_ms", " ms"),
        ("QTc", "qtc_ms", " ms"),
    ]
    parts = [f"{name} {_number(said[key])}{unit}" for name, key, unit in words if said.get(key) is not None]
    axes = [said.get(key) for key in ("p_axis", "qrs_axis", "t_axis")]
    if any(axis is not None for axis in axes):
        parts.append(f"P/QRS/T {'/'.join(_number(axis) for axis in axes)}°")
    return "  ".join(parts)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"
