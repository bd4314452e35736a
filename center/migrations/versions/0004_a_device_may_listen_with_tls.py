"""a device may listen with TLS"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    with op.batch_alter_table("application_entities") as table:
        table.add_column(sa.Column("tls", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    with op.batch_alter_table("application_entities") as table:
        table.drop_column("tls")
