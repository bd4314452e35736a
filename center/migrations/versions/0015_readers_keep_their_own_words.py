"""readers keep their own words"""

import sqlalchemy as sa
from alembic import op

import storage.database

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.create_table(
        "report_macros",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("institution_code", sa.String(), nullable=False),
        sa.Column("username", sa.String(), nullable=False),
        sa.Column("abbreviation", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["institution_code"],
            ["institutions.code"],
            name=op.f("fk_report_macros_institution_code_institutions"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_report_macros")),
        sa.UniqueConstraint(
            "institution_code",
            "username",
            "abbreviation",
            name=op.f("uq_report_macros_institution_code_username_abbreviation"),
        ),
    )
    op.create_table(
        "report_templates",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("institution_code", sa.String(), nullable=False),
        sa.Column("username", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("modalities", storage.database.Json, nullable=False),
        sa.Column("parts", storage.database.Json, nullable=False),
        sa.Column("findings", sa.String(), nullable=False),
        sa.Column("impression", sa.String(), nullable=False),
        sa.Column("recommendation", sa.String(), nullable=False),
        sa.Column("is_normal", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("changed_by", sa.String(), nullable=False),
        sa.Column("changed_at", storage.database.Moment(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["institution_code"],
            ["institutions.code"],
            name=op.f("fk_report_templates_institution_code_institutions"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_report_templates")),
    )
    op.create_index(op.f("ix_report_templates_institution_code"), "report_templates", ["institution_code"])


def downgrade() -> None:
    op.drop_table("report_templates")
    op.drop_table("report_macros")
