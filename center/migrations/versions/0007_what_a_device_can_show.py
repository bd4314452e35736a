"""what a device can show"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    with op.batch_alter_table("application_entities") as table:
        table.add_column(sa.Column("character_set", sa.String(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("application_entities") as table:
        table.drop_column("character_set")
