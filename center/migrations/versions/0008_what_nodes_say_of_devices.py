"""what nodes say of devices"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text
from sqlalchemy.dialects import postgresql

import storage.database

revision = "0008"
down_revision = "0007"


def upgrade() -> None:

    op.create_table(
        "device_figures",
        sa.Column("node", sa.String(), nullable=False),
        sa.Column("ae_title", sa.String(), nullable=False),
        sa.Column("begins_at", storage.database.Moment(timezone=True), nullable=False),
        sa.Column(
            "statuses",
            sa.JSON().with_variant(postgresql.JSONB(astext_type=Text()), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "refusals",
            sa.JSON().with_variant(postgresql.JSONB(astext_type=Text()), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "latency",
            sa.JSON().with_variant(postgresql.JSONB(astext_type=Text()), "postgresql"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("node", "ae_title", "begins_at", name=op.f("pk_device_figures")),
    )
    with op.batch_alter_table("device_figures", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_device_figures_begins_at"), ["begins_at"], unique=False)

    op.create_table(
        "device_seen",
        sa.Column("ae_title", sa.String(), nullable=False),
        sa.Column("node", sa.String(), nullable=False),
        sa.Column("at", storage.database.Moment(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("ae_title", "node", name=op.f("pk_device_seen")),
    )
    op.create_table(
        "node_states",
        sa.Column("node", sa.String(), nullable=False),
        sa.Column("at", storage.database.Moment(timezone=True), nullable=False),
        sa.Column("started_at", storage.database.Moment(timezone=True), nullable=False),
        sa.Column("associations", sa.Integer(), nullable=False),
        sa.Column("waiting", sa.Integer(), nullable=False),
        sa.Column("spool_objects", sa.Integer(), nullable=False),
        sa.Column("spool_seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("node", name=op.f("pk_node_states")),
    )


def downgrade() -> None:

    op.drop_table("node_states")
    op.drop_table("device_seen")
    with op.batch_alter_table("device_figures", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_device_figures_begins_at"))

    op.drop_table("device_figures")
