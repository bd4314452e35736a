"""The hangings that a reader and the reader's department saved."""

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import Field

from reading_portal.dependencies import CurrentPractitioner, Now, OpenSession, ReadSession
from reading_portal.shapes import Answer, Key, Shape
from worklist import hanging_protocols
from worklist.hanging_protocols import Hanging, HangingProtocol

router = APIRouter(prefix="/api/viewer/hangings", tags=["viewer"])

Word = Annotated[str, Field(max_length=64)]
Side = Literal["", "L", "R", "B"]


class Cell(Shape):
    """What to look for in one cell. `source` numbers the series: cells of one number show the same one."""

    source: Annotated[int, Field(ge=0, lt=16)]
    standing: Literal["current", "prior"]
    modality: Word
    laterality: Side
    view: Word
    plane: Literal["", "axial", "coronal", "sagittal"]
    description: Word
    window: Annotated[int, Field(ge=0, le=9)]  # a preset by its number; 0 for the image's own


class NewHanging(Shape):
    for_department: bool
    version: int | None  # as last seen; null where none was
    name: Word
    modality: Word
    body_part: Word
    laterality: Side
    views: Annotated[list[Word], Field(max_length=16)]
    layout: Annotated[str, Field(pattern="^[1-4]x[1-4]$")]
    cells: Annotated[list[Cell | None], Field(max_length=16)]


class HangingKept(Answer):
    id: int
    for_department: bool
    version: int
    name: str
    modality: str
    body_part: str
    laterality: str
    views: list[str]
    layout: str
    cells: list[Cell | None]


class Hangings(Answer):
    hangings: list[HangingKept]
    may_hang_for_department: bool


@router.get("")
def look_at_hangings(who: CurrentPractitioner, session: ReadSession) -> Hangings:
    return Hangings(
        hangings=[_told(one) for one in hanging_protocols.hangings_of(session, who)],
        may_hang_for_department=hanging_protocols.may_hang_for_department(who),
    )


@router.put("")
def save_hanging(body: NewHanging, who: CurrentPractitioner, session: OpenSession, now: Now) -> HangingKept:
    """In place of the one for the same studies; 409 where somebody changed the department's meanwhile."""
    hanging = Hanging(
        name=body.name,
        modality=body.modality,
        body_part=body.body_part,
        laterality=body.laterality,
        views=tuple(sorted(set(body.views))),
        layout=body.layout,
        cells=tuple(cell.model_dump() if cell else {} for cell in body.cells),
    )
    return _told(
        hanging_protocols.save_hanging(
            session, hanging, for_department=body.for_department, seen=body.version, by=who, now=now
        )
    )


@router.delete("/{hanging_id}", status_code=204)
def discard_hanging(hanging_id: Key, who: CurrentPractitioner, session: OpenSession) -> None:
    hanging_protocols.discard_hanging(session, hanging_id, by=who)


def _told(row: HangingProtocol) -> HangingKept:
    return HangingKept(
        id=row.id,
        for_department=row.institution_code is not None,
        version=row.version,
        name=row.name,
        modality=row.modality,
        body_part=row.body_part,
        laterality=row.laterality,
        views=row.views,
        layout=row.layout,
        cells=[Cell.model_validate(cell) if cell else None for cell in row.cells],
    )
