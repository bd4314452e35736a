"""headers are filled in later"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

WITHOUT = sa.text("header IS NULL")


def upgrade() -> None:
    with op.batch_alter_table("instances") as table:
        table.alter_column("header", existing_type=sa.JSON(), nullable=True)
        table.create_index(
            "ix_instances_without_header", ["id"], sqlite_where=WITHOUT, postgresql_where=WITHOUT
        )


def downgrade() -> None:
    with op.batch_alter_table("instances") as table:
        table.drop_index("ix_instances_without_header")
        table.alter_column("header", existing_type=sa.JSON(), nullable=False)
