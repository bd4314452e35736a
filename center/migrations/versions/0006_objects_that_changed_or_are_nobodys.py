"""objects that changed, objects that nobody claims, and how far the rounds through them have come"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

import storage.database

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    moment = storage.database.Moment(timezone=True)
    op.create_table(
        "object_faults",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("object_key", sa.String(), nullable=False),
        sa.Column("holding", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("fault", sa.String(), nullable=False),
        sa.Column("found_at", moment, nullable=False),
        sa.Column("checked_at", moment, nullable=False),
        sa.Column("mended_at", moment, nullable=True),
        sa.Column("mended_by", sa.String(), nullable=True),
        sa.Column("is_told", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_object_faults")),
        sa.UniqueConstraint("object_key", name=op.f("uq_object_faults_object_key")),
    )
    with op.batch_alter_table("object_faults") as table:
        table.create_index(
            op.f("ix_object_faults_mended_at_checked_at"), ["mended_at", "checked_at"], unique=False
        )
    op.create_table(
        "rounds",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("position", sa.String(), nullable=False),
        sa.Column("counts", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("began_at", moment, nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("lease_until", moment, nullable=False),
        sa.Column("finished_at", moment, nullable=True),
        sa.Column("finished_counts", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_rounds")),
    )
    op.create_table(
        "unclaimed_objects",
        sa.Column("object_key", sa.String(), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("sop_instance_uid", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("found_at", moment, nullable=False),
        sa.Column("looked_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("object_key", name=op.f("pk_unclaimed_objects")),
    )
    with op.batch_alter_table("unclaimed_objects") as table:
        table.create_index(op.f("ix_unclaimed_objects_why_found_at"), ["why", "found_at"], unique=False)
        table.create_index(op.f("ix_unclaimed_objects_sop_instance_uid"), ["sop_instance_uid"], unique=False)


def downgrade() -> None:
    op.drop_table("unclaimed_objects")
    op.drop_table("rounds")
    op.drop_table("object_faults")
