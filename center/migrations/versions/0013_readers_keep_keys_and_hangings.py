"""readers keep keys and hangings"""

import sqlalchemy as sa
from alembic import op

from storage.database import Json, Moment

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.create_table(
        "hanging_protocols",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("username", sa.String(), nullable=True),
        sa.Column("institution_code", sa.String(), nullable=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("modality", sa.String(), nullable=False),
        sa.Column("body_part", sa.String(), nullable=False),
        sa.Column("laterality", sa.String(), nullable=False),
        sa.Column("views", Json, nullable=False),
        sa.Column("layout", sa.String(), nullable=False),
        sa.Column("cells", Json, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("changed_by", sa.String(), nullable=False),
        sa.Column("changed_at", Moment(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(username IS NULL) <> (institution_code IS NULL)", name=op.f("ck_hanging_protocols_one_owner")
        ),
        sa.ForeignKeyConstraint(
            ["institution_code"],
            ["institutions.code"],
            name=op.f("fk_hanging_protocols_institution_code_institutions"),
        ),
        sa.ForeignKeyConstraint(
            ["username"], ["practitioners.username"], name=op.f("fk_hanging_protocols_username_practitioners")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hanging_protocols")),
    )
    op.create_index(op.f("ix_hanging_protocols_institution_code"), "hanging_protocols", ["institution_code"])
    op.create_index(op.f("ix_hanging_protocols_username"), "hanging_protocols", ["username"])
    op.create_table(
        "shortcuts",
        sa.Column("username", sa.String(), nullable=False),
        sa.Column("keys", Json, nullable=False),
        sa.Column("changed_at", Moment(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["username"], ["practitioners.username"], name=op.f("fk_shortcuts_username_practitioners")
        ),
        sa.PrimaryKeyConstraint("username", name=op.f("pk_shortcuts")),
    )


def downgrade() -> None:
    op.drop_table("shortcuts")
    op.drop_table("hanging_protocols")
