"""datasets are hashed by BLAKE3"""

import sqlalchemy as sa
from alembic import op

from center.complaints import Complaint

revision = "0005"
down_revision = "0004"

TABLES = ("instances", "quarantined_instances")


def upgrade() -> None:
    for table in TABLES:
        if op.get_bind().execute(sa.text(f"SELECT 1 FROM {table} LIMIT 1")).first():  # noqa: S608
            raise Complaint(
                "this data was made before the first release and is hashed otherwise: start afresh"
            )
        with op.batch_alter_table(table) as change:
            change.alter_column("sha256", new_column_name="digest")
            change.alter_column("object_sha256", new_column_name="seal")


def downgrade() -> None:
    for table in TABLES:
        with op.batch_alter_table(table) as change:
            change.alter_column("seal", new_column_name="object_sha256")
            change.alter_column("digest", new_column_name="sha256")
