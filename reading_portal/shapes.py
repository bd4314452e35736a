"""What every request shape shares: strict types, no unknown fields, no characters that no database keeps."""

import re
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from storage.uids import is_uid
from worklist.problems import Unacceptable

# C0 controls except tab and line ends, DEL, and lone surrogates: PostgreSQL or UTF-8 refuses them.
_UNKEEPABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


class Shape(BaseModel):
    """A JSON body: strictly typed (true is not 1), and nothing in it that we do not know."""

    model_config = ConfigDict(strict=True, extra="forbid", str_strip_whitespace=False)

    @model_validator(mode="before")
    @classmethod
    def _keepable(cls, value: Any) -> Any:
        if not all(_is_keepable(text) for text in _texts(value)):
            raise ValueError("the text has control characters that cannot be kept")
        return value


class Answer(BaseModel):
    """A JSON answer."""

    model_config = ConfigDict(from_attributes=True)


def _text_only(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("a date or moment is written as text")
    return value


def _a_uid(text: str) -> str:
    if not is_uid(text):
        raise ValueError("not a DICOM UID")
    return text


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for one in pair for text in _texts(one)]
    if isinstance(value, list):
        return [text for one in value for text in _texts(one)]
    return []


def _is_keepable(text: str) -> bool:
    return _UNKEEPABLE.search(text) is None


Day = Annotated[date, Field(strict=False), BeforeValidator(_text_only)]
Moment = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_text_only)]
Uid = Annotated[str, AfterValidator(_a_uid)]
Key = Annotated[int, Path(ge=1, le=2**31 - 1)]
UidKey = Annotated[str, Path(pattern=r"^[0-9.]{1,64}$")]
Limit = Annotated[int, Query(ge=1, le=500)]
Cursor = Annotated[str | None, Query(max_length=64)]
Fence = Annotated[int, Field(ge=0, le=2**31 - 1)]
Code = Annotated[str, Field(max_length=64)]
Sentence = Annotated[str, Field(max_length=4000)]
Prose = Annotated[str, Field(max_length=64_000)]
Password = Annotated[str, Field(min_length=1, max_length=256)]
OneTimeCode = Annotated[str, Field(pattern=r"^[0-9]{6,8}$")]


class Credentials(Shape):
    """How a signer proves again who signs: the password, or a one-time code where enrolled."""

    password: Password | None = None
    otp: OneTimeCode | None = None


def position(cursor: str | None) -> int | None:
    """Where the last page ended. Raises Unacceptable for a cursor that was not ours."""
    if cursor is None or cursor == "":
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 10):
        raise Unacceptable("the cursor is not one that this list gave")
    return int(cursor)


def utc(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC with a Z."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z") if moment else None
