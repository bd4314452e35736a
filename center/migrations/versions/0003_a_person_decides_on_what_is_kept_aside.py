"""a person decides on what is kept aside"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    with op.batch_alter_table("quarantined_instances") as table:
        table.add_column(sa.Column("resolved_by", sa.String(), nullable=True))
        table.add_column(sa.Column("resolution_reason", sa.String(), nullable=True))
        table.add_column(sa.Column("kept_as", sa.String(), nullable=True))
        table.add_column(sa.Column("version", sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    with op.batch_alter_table("quarantined_instances") as table:
        table.drop_column("version")
        table.drop_column("kept_as")
        table.drop_column("resolution_reason")
        table.drop_column("resolved_by")
