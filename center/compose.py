"""From settings to the parts of the centre: the one place where engines, stores and doors meet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from minio.error import MinioException, S3Error
from sqlalchemy.engine import make_url
from sqlalchemy.exc import InterfaceError, OperationalError
from urllib3.exceptions import HTTPError

from center.complaints import Complaint
from storage.database import PATIENCE, Database
from storage.healing import heal
from storage.objects import FolderStore, ObjectStore, StoreAway, open_store
from storage.s3 import S3Store
from storage.settings import PREFIX, Settings
from storage.spool import SpooledStore, SpoolFirst, draining
from worklist.authority import CentreAuthority
from worklist.policy import read_policy


@contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    database = Database(settings.database_url, patience=PATIENCE)
    try:
        yield database
    finally:
        database.dispose()


def open_objects(settings: Settings, *, receives: bool = False) -> ObjectStore:
    """Where every role reads and writes; with `receives`, as a node writes.

    What waits in the spool is read and copied also after the mode was changed back.
    """
    store = open_store(settings.object_store)
    folder = settings.data / "unsent"
    if not isinstance(store, S3Store) or not (settings.ingest == "spool" or folder.is_dir()):
        return store
    kind = SpooledStore if receives and settings.ingest == "spool" else SpoolFirst
    return kind(FolderStore(folder), store)


def prepare_objects(settings: Settings) -> None:
    """Make the bucket where it is missing; a folder makes itself."""
    store = open_store(settings.object_store)
    if not isinstance(store, S3Store):
        return
    try:
        store.ensure_bucket()
    except ValueError as error:
        raise Complaint(f"{PREFIX}OBJECT_STORE makes no sense: {error}") from None
    except StoreAway:
        # What is received waits in the spool, and the bucket is made when the store is there.
        if settings.ingest != "spool":
            raise


@contextmanager
def spooling(settings: Settings, database: Database, objects: ObjectStore) -> Iterator[None]:
    """Where objects wait on this machine, copy them while the block runs."""
    if not isinstance(objects, SpoolFirst):
        yield
        return

    def prepare() -> None:
        if isinstance(objects.store, S3Store):
            objects.store.ensure_bucket()
        heal(database, objects)  # what could not be looked at while the store was away

    with draining(objects, prepare=prepare):
        yield


def open_authority(settings: Settings, database: Database) -> CentreAuthority:
    """Who seals reports, under the name that the centre was declared with."""
    with database.reading() as session:
        name = read_policy(session).center_name
    return CentreAuthority(authority_folder(settings), centre_name=name)


def authority_folder(settings: Settings) -> Path:
    """Where the centre's own certificate authority lives; several machines of one centre share it."""
    return settings.data / "authority"


@contextmanager
def answering(settings: Settings) -> Iterator[None]:
    """A database or object store that does not answer becomes one sentence, without its password."""
    try:
        yield
    except (OperationalError, InterfaceError):
        where = make_url(settings.database_url).render_as_string(hide_password=True)
        raise Complaint(f"the database does not answer: {where}") from None
    except S3Error as error:
        raise Complaint(f"the object store at {_host(settings)} refused: {error.code}") from None
    except (MinioException, HTTPError, StoreAway):
        raise Complaint(f"the object store at {_host(settings)} does not answer") from None


def _host(settings: Settings) -> str:
    parts = urlsplit(settings.object_store)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
