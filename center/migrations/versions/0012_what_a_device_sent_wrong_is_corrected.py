"""what a device sent wrong is corrected"""

import sqlalchemy as sa
from alembic import op

import storage.database

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_table(
        "corrections",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_pk", sa.Integer(), nullable=False),
        sa.Column("patient_pk", sa.Integer(), nullable=True),
        sa.Column("changes", storage.database.Json, nullable=False),
        sa.Column("links", storage.database.Json, nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("made_by", sa.String(), nullable=False),
        sa.Column("made_at", storage.database.Moment(timezone=True), nullable=False),
        sa.Column("undone_by", sa.String(), nullable=True),
        sa.Column("undone_at", storage.database.Moment(timezone=True), nullable=True),
        sa.Column("undone_reason", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["patient_pk"], ["patients.id"], name=op.f("fk_corrections_patient_pk_patients")
        ),
        sa.ForeignKeyConstraint(["study_pk"], ["studies.id"], name=op.f("fk_corrections_study_pk_studies")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_corrections")),
    )
    op.create_index(op.f("ix_corrections_patient_pk"), "corrections", ["patient_pk"])
    op.create_index(op.f("ix_corrections_study_pk"), "corrections", ["study_pk"])
    with op.batch_alter_table("studies") as table:
        table.add_column(sa.Column("sent_patient_pk", sa.Integer(), nullable=True))
        table.add_column(sa.Column("text_charset", sa.String(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("studies") as table:
        table.drop_column("text_charset")
        table.drop_column("sent_patient_pk")
    op.drop_table("corrections")
