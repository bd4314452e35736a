"""Which picture stands behind which word of the order book."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from pydicom.dataset import Dataset

from center.demo.phantoms.exam import Exam
from center.demo.phantoms.packaged_picture import SOURCES, packaged_picture

Draw = Callable[[Exam, Path], Iterator[Dataset]]


# Each imports its phantom when it draws: an ECG cart does not load a CT.


def _thorax(exam: Exam, folder: Path) -> Iterator[Dataset]:
    from center.demo.phantoms.thorax import thorax

    return thorax(exam, folder)


def _thick_thorax(exam: Exam, folder: Path) -> Iterator[Dataset]:
    from center.demo.phantoms.thorax import thorax

    return thorax(exam, folder, every=4)


def _chest_dx(exam: Exam, folder: Path) -> Iterator[Dataset]:
    from center.demo.phantoms.chest_radiograph import chest_radiograph

    yield chest_radiograph(exam, folder)


def _chest_cr(exam: Exam, folder: Path) -> Iterator[Dataset]:
    from center.demo.phantoms.chest_radiograph import chest_radiograph

    yield chest_radiograph(exam, folder, modality="CR")


def _ecg(exam: Exam, _folder: Path) -> Iterator[Dataset]:
    from center.demo.phantoms.electrocardiogram import electrocardiogram

    yield electrocardiogram(exam)


def _abdomen(exam: Exam, _folder: Path) -> Iterator[Dataset]:
    from center.demo.phantoms.ultrasound import abdomen

    return abdomen(exam)


def _breasts(exam: Exam, _folder: Path) -> Iterator[Dataset]:
    from center.demo.phantoms.mammogram import mammogram

    return mammogram(exam)


def _brain(exam: Exam, folder: Path) -> Iterator[Dataset]:
    from center.demo.phantoms.brain import brain

    return brain(exam, folder)


REPERTOIRE: dict[str, Draw] = {
    "thorax": _thorax,
    "thick-thorax": _thick_thorax,
    "chest-dx": _chest_dx,
    "chest-cr": _chest_cr,
    "ecg": _ecg,
    "abdomen-us": _abdomen,
    "mammogram": _breasts,
    "brain-mr": _brain,
    **{
        name: lambda exam, _folder, name=name: packaged_picture(exam, name)  # type: ignore[misc]
        for name in SOURCES
    },
}


def draw(phantom: str, exam: Exam, folder: Path) -> Iterator[Dataset]:
    """The instances of an exam, one by one; `folder` keeps what is slow to make. KeyError: no such word."""
    return REPERTOIRE[phantom](exam, folder)


SLOW_TO_DRAW = ("thorax", "thick-thorax")


def is_prepared(folder: Path) -> bool:
    """Whether the first exam of every kind can begin at once."""
    return (folder / "thorax-1-label.npy").exists()


def prepare(folder: Path) -> None:
    """Draw what the first CT needs, beside what else goes on: some 15 s of one processor, once."""
    from center.demo.phantoms.thorax import open_volume

    os.nice(5)
    open_volume(folder, 1)
