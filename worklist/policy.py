"""The centre's own words and rules, as declared: its name, its clock, what needs two signatures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Mapped, Session, mapped_column

from storage.database import Base


class PolicyRow(Base):
    """One row, written by the declaration."""

    __tablename__ = "policy"
    id: Mapped[int] = mapped_column(primary_key=True)
    values: Mapped[dict[str, Any]]


@dataclass(frozen=True)
class Policy:
    center_name: str = "阅片中心"
    timezone: str = "Asia/Shanghai"
    language: str = "zh-CN"
    review: tuple[str, ...] = ()  # modalities whose reports need a second person's signature
    quiet_seconds: int = 20  # silence after which a study that nothing else proves complete has arrived
    most_leases: int = 3  # live leases that one reader may hold
    lease_seconds: int = 90

    @property
    def quiet(self) -> timedelta:
        return timedelta(seconds=self.quiet_seconds)

    @property
    def lease(self) -> timedelta:
        return timedelta(seconds=self.lease_seconds)


def read_policy(session: Session) -> Policy:
    row = session.get(PolicyRow, 1)
    if row is None:
        return Policy()
    known = {key: value for key, value in row.values.items() if key in Policy.__dataclass_fields__}
    known["review"] = tuple(known.get("review", ()))
    return Policy(**known)


def write_policy(session: Session, policy: Policy) -> None:
    values = asdict(policy) | {"review": list(policy.review)}
    row = session.get(PolicyRow, 1)
    if row is None:
        session.add(PolicyRow(id=1, values=values))
    else:
        row.values = values
