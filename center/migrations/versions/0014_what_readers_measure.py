"""what readers measure"""

import sqlalchemy as sa
from alembic import op

import storage.database

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.create_table(
        "measurements",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_pk", sa.Integer(), nullable=False),
        sa.Column("uid", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("sop_instance_uid", sa.String(), nullable=False),
        sa.Column("frame", sa.Integer(), nullable=False),
        sa.Column("points", storage.database.Json, nullable=False),
        sa.Column("calibration", sa.String(), nullable=False),
        sa.Column("figures", storage.database.Json, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("made_at", storage.database.Moment(timezone=True), nullable=False),
        sa.Column("changed_at", storage.database.Moment(timezone=True), nullable=False),
        sa.Column("discarded_at", storage.database.Moment(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["study_pk"], ["studies.id"], name=op.f("fk_measurements_study_pk_studies")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_measurements")),
        sa.UniqueConstraint("study_pk", "uid", name=op.f("uq_measurements_study_pk_uid")),
    )


def downgrade() -> None:
    op.drop_table("measurements")
