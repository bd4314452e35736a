"""Write the next migration: the difference between the newest one and the tables as they are in the code.

For developers: `script/new-migration "why"`. Read what it wrote before you commit it; a renamed column, for
one, looks to it like one that went and one that came.
"""

from __future__ import annotations

import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from alembic import command
from alembic.config import Config

from center.migrate import migrate
from storage.database import Database


def main() -> int:
    if len(sys.argv) != 2:
        print('usage: script/new-migration "why the tables change"', file=sys.stderr)
        return 2
    folder = Path(str(files("center").joinpath("migrations")))
    number = len(list((folder / "versions").glob("[0-9]*.py"))) + 1
    with tempfile.TemporaryDirectory() as scratch:
        url = f"sqlite:///{scratch}/scratch.sqlite"
        migrate(url)
        database = Database(url)
        configuration = Config()
        configuration.set_main_option("script_location", str(folder))
        with database.engine.connect() as connection:
            configuration.attributes["connection"] = connection
            command.revision(configuration, message=sys.argv[1], rev_id=f"{number:04d}", autogenerate=True)
        database.dispose()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
