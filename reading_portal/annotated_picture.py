"""A key image with what its reader measured on it, as one drawing for the printed report."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from html import escape
from math import atan2, degrees, dist

from reading_portal.rendering import Picture
from worklist.measurements import Kind, Measurement

INK, SHADE = "#ffd23f", "#000000"
# What is said beside a drawing, in this order; the rest stands on the screen and in the SR.
UNITS = {"mm2": "mm²", "cm2": "cm²", "px2": "px²", "deg": "°", "degrees": "°"}
Point = tuple[float, float]


def annotated_picture(picture: Picture, *, columns: int, rows: int, drawn: Sequence[Measurement]) -> bytes:
    """SVG: the picture, and each measurement in its place; `columns` and `rows` are the frame's."""
    across, down = picture.width / columns, picture.height / rows
    # A point lies in the middle of its pixel, a drawing begins at the pixel's corner.
    marks = "".join(_mark(one, [((x + 0.5) * across, (y + 0.5) * down) for x, y in one.points], picture.width)
                    for one in drawn)  # fmt: skip
    data = b64encode(picture.data).decode("ascii")
    size = f'width="{picture.width}" height="{picture.height}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {size} '
        f'viewBox="0 0 {picture.width} {picture.height}">'
        f'<image {size} xlink:href="data:{picture.media_type};base64,{data}"/>{marks}</svg>'
    ).encode()


def _mark(one: Measurement, points: list[Point], width: int) -> str:
    """Dark below bright, so that it is seen on bone and on lung."""
    shape, thin = _shape(Kind(one.kind), points), max(1.0, width / 400)
    words = "  ".join(f"{figure['value']:.4g} {UNITS.get(figure['unit'], figure['unit'])}".strip()
                      for figure in one.figures[:2])  # fmt: skip
    x, y = max(points)
    size = max(9.0, width / 32)
    # A figure that the edge cuts would be another figure.
    x, y = min(x, width - 0.62 * size * len(words) - 3 * thin), max(y, size)
    text = (
        f'x="{x + 2 * thin:.1f}" y="{y:.1f}" font-size="{size:.1f}" '
        f'font-family="Source Han Sans SC, Noto Sans CJK SC, sans-serif"'
    )
    return (
        f'<g fill="none" stroke="{SHADE}" stroke-width="{3 * thin:.1f}">{shape}</g>'
        f'<g fill="none" stroke="{INK}" stroke-width="{thin:.1f}">{shape}</g>'
        f'<text {text} fill="{SHADE}" stroke="{SHADE}" stroke-width="{2 * thin:.1f}">{escape(words)}</text>'
        f'<text {text} fill="{INK}">{escape(words)}</text>'
    )


def _shape(kind: Kind, points: list[Point]) -> str:
    if kind == Kind.PROBE:
        ((x, y),) = points
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
    if kind in (Kind.COBB, Kind.BIDIRECTIONAL):
        return _line(points[:2]) + _line(points[2:])
    if kind == Kind.ELLIPSE:
        x, y = (sum(values) / 4 for values in zip(*points, strict=True))
        (left, top), (right, bottom) = points[:2]
        turned = degrees(atan2(bottom - top, right - left))
        radii = dist(points[0], points[1]) / 2, dist(points[2], points[3]) / 2
        return (
            f'<ellipse cx="{x:.1f}" cy="{y:.1f}" rx="{radii[0]:.1f}" ry="{radii[1]:.1f}" '
            f'transform="rotate({turned:.2f} {x:.1f} {y:.1f})"/>'
        )
    if kind == Kind.RECTANGLE:  # the corners, however the tool lists them
        x, y = (sum(values) / 4 for values in zip(*points, strict=True))
        points = sorted(points, key=lambda point: atan2(point[1] - y, point[0] - x))
    return _line(points, is_closed=kind in (Kind.RECTANGLE, Kind.FREEHAND))


def _line(points: list[Point], *, is_closed: bool = False) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<{"polygon" if is_closed else "polyline"} points="{path}"/>'
