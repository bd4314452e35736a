"""The catalogue of recognised items (互认项目), and the certificates that make results recognisable."""

from __future__ import annotations

from datetime import date

from sqlalchemy import ForeignKey, UniqueConstraint, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from storage.database import Base

# The wider the certificate's scope, the more receivers must accept: the highest one is printed.
SCOPES = ("county", "city", "province", "national")


class RecognitionItem(Base):
    __tablename__ = "recognition_items"
    item: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    modality: Mapped[str]
    body_part: Mapped[str] = mapped_column(default="")
    valid_days: Mapped[int]
    is_active: Mapped[bool] = mapped_column(default=True)


class QualityCertificate(Base):
    """A device passed the quality assessment of this scope for this item, both days inclusive."""

    __tablename__ = "quality_certificates"
    __table_args__ = (UniqueConstraint("institution_code", "device", "item", "starts_on"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    institution_code: Mapped[str] = mapped_column(ForeignKey("institutions.code"), index=True)
    device: Mapped[str]
    item: Mapped[str]
    scope: Mapped[str]
    starts_on: Mapped[date]
    until: Mapped[date]
    is_active: Mapped[bool] = mapped_column(default=True)


def item_for(session: Session, *, modality: str, body_part: str) -> str | None:
    """The catalogue's item for this exam, or None."""
    return session.scalar(
        select(RecognitionItem.item).where(
            RecognitionItem.modality == modality,
            RecognitionItem.body_part == body_part.upper(),
            RecognitionItem.is_active,
        )
    )


def items_by_code(session: Session) -> dict[str, RecognitionItem]:
    return {
        one.item: one for one in session.scalars(select(RecognitionItem).where(RecognitionItem.is_active))
    }


def certificate_scope(
    session: Session, *, institution_code: str, device: str, item: str, on: date
) -> str | None:
    """The highest scope whose certificate covered this device and item on the day of acquisition."""
    scopes = session.scalars(
        select(QualityCertificate.scope).where(
            QualityCertificate.institution_code == institution_code,
            QualityCertificate.device == device,
            QualityCertificate.item == item,
            QualityCertificate.starts_on <= on,
            QualityCertificate.until >= on,
            QualityCertificate.is_active,
        )
    )
    return max(scopes, key=SCOPES.index, default=None)
