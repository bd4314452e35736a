"""persons are linked by decisions"""

import sqlalchemy as sa
from alembic import op

from storage.database import Json, Moment

revision = "0010"
down_revision = "0009"

STANDING = sa.text("withdrawn_at IS NULL")
NOT_COMPARED = sa.text("compared_at IS NULL")


def upgrade() -> None:
    op.create_table(
        "person_decisions",
        sa.Column("id", sa.Integer(), nullable=False),
        *_pair("person_decisions"),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("evidence", Json, nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("decided_by", sa.String(), nullable=False),
        sa.Column("decided_at", Moment(timezone=True), nullable=False),
        sa.Column("withdrawn_by", sa.String(), nullable=True),
        sa.Column("withdrawn_at", Moment(timezone=True), nullable=True),
        sa.Column("withdrawal_reason", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_person_decisions")),
    )
    with op.batch_alter_table("person_decisions") as table:
        table.create_index("ix_person_decisions_first_pk_second_pk", ["first_pk", "second_pk"])
        table.create_index("ix_person_decisions_second_pk", ["second_pk"])
        table.create_index(
            "uq_person_decisions_standing",
            ["first_pk", "second_pk"],
            unique=True,
            sqlite_where=STANDING,
            postgresql_where=STANDING,
        )
    op.create_table(
        "person_proposals",
        sa.Column("id", sa.Integer(), nullable=False),
        *_pair("person_proposals"),
        sa.Column("score", sa.Integer(), nullable=False),
        sa.Column("proposed_at", Moment(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_person_proposals")),
        sa.UniqueConstraint("first_pk", "second_pk", name=op.f("uq_person_proposals_first_pk_second_pk")),
    )
    with op.batch_alter_table("person_proposals") as table:
        table.create_index("ix_person_proposals_score_id", ["score", "id"])
        table.create_index("ix_person_proposals_second_pk", ["second_pk"])
    with op.batch_alter_table("patients") as table:
        table.add_column(sa.Column("compared_at", Moment(timezone=True), nullable=True))
        table.create_index(
            "ix_patients_not_compared", ["id"], sqlite_where=NOT_COMPARED, postgresql_where=NOT_COMPARED
        )


def downgrade() -> None:
    with op.batch_alter_table("patients") as table:
        table.drop_index("ix_patients_not_compared")
        table.drop_column("compared_at")
    op.drop_table("person_proposals")
    op.drop_table("person_decisions")


def _pair(table: str) -> list[sa.schema.SchemaItem]:
    """Two patients."""
    columns = ("first_pk", "second_pk")
    return [
        *(sa.Column(name, sa.Integer(), nullable=False) for name in columns),
        *(
            sa.ForeignKeyConstraint([name], ["patients.id"], name=op.f(f"fk_{table}_{name}_patients"))
            for name in columns
        ),
    ]
