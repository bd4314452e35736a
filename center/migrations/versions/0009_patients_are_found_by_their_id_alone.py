"""patients are found by their ID alone"""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_index(
        "ix_patients_patient_id",
        "patients",
        ["patient_id"],
        postgresql_ops={"patient_id": "varchar_pattern_ops"},
    )


def downgrade() -> None:
    op.drop_index("ix_patients_patient_id", table_name="patients")
