"""what senders list as a study"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text
from sqlalchemy.dialects import postgresql

import storage.database

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    uids = sa.JSON().with_variant(postgresql.JSONB(astext_type=Text()), "postgresql")
    op.create_table(
        "instance_lists",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("ae_title", sa.String(), nullable=False),
        sa.Column("institution_code", sa.String(), nullable=False),
        sa.Column("study_instance_uid", sa.String(), nullable=False),
        sa.Column("instance_uids", uids, nullable=False),
        sa.Column("number_of_instances", sa.Integer(), nullable=False),
        sa.Column("listed_at", storage.database.Moment(timezone=True), nullable=False),
        sa.Column("weighed_at", storage.database.Moment(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instance_lists")),
        sa.UniqueConstraint(
            "kind", "key", "study_instance_uid", name=op.f("uq_instance_lists_kind_key_study_instance_uid")
        ),
    )
    with op.batch_alter_table("instance_lists") as table:
        table.create_index(table.f("ix_instance_lists_ae_title_listed_at"), ["ae_title", "listed_at"])
        table.create_index(table.f("ix_instance_lists_study_instance_uid"), ["study_instance_uid"])
        table.create_index(
            "ix_instance_lists_unweighed",
            ["id"],
            sqlite_where=sa.text("weighed_at IS NULL"),
            postgresql_where=sa.text("weighed_at IS NULL"),
        )
    with op.batch_alter_table("studies") as table:
        table.add_column(sa.Column("expected_instances", sa.Integer(), nullable=True))
        table.add_column(sa.Column("missing_instances", sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    with op.batch_alter_table("studies") as table:
        table.drop_column("missing_instances")
        table.drop_column("expected_instances")
    op.drop_table("instance_lists")
