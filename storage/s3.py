"""Objects in an S3-compatible store, which may be slow or away: that is said before a device gives up."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, Self

import certifi
import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from storage.objects import IN_MEMORY, ObjectMissing, StoreAway, filled

# Seconds: an object store that is away is found out before a device gives up by itself.
S3_CONNECT, S3_ANSWER = 4, 15
S3_CONNECTIONS = 32
_GONE = {"NoSuchKey", "NoSuchObject", "NoSuchBucket"}


class S3Store:
    """Objects in an S3-compatible store through the MinIO SDK; durable when the server says so."""

    def __init__(
        self, endpoint: str, *, access_key: str, secret_key: str, bucket: str, secure: bool, region: str
    ) -> None:
        self.bucket = bucket
        # The region is stated, or the SDK asks the server for it before every first call.
        self.client = Minio(
            endpoint,
            access_key=access_key,
            secret_key=secret_key,
            secure=secure,
            region=region,
            http_client=_impatient(),
        )

    def ensure_bucket(self) -> None:
        with _asking():
            if self.client.bucket_exists(bucket_name=self.bucket):
                return
            try:
                self.client.make_bucket(bucket_name=self.bucket)
            except S3Error as error:
                if error.code not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                    raise

    def put(self, key: str, content: BinaryIO, length: int) -> None:
        # Keys are random and never reused; not every S3 server honours If-None-Match, so it is not relied on.
        with _asking(key):
            self.client.put_object(bucket_name=self.bucket, object_name=key, data=content, length=length)

    def draft(self, key: str) -> _SpooledDraft:
        return _SpooledDraft(self, key)

    def get(self, key: str) -> bytes:
        with self.open_range(key) as stream:
            return stream.read()

    def open_range(self, key: str, start: int = 0, length: int | None = None) -> BinaryIO:
        if length == 0:
            return io.BytesIO()
        with _asking(key):
            response = self.client.get_object(
                bucket_name=self.bucket, object_name=key, offset=start, length=length or 0
            )
        return _S3Stream(response)

    def read_into(self, key: str, start: int, pieces: Sequence[memoryview]) -> int:
        with self.open_range(key, start, sum(map(len, pieces))) as stream:
            return filled(pieces, stream)

    def size(self, key: str) -> int:
        with _asking(key):
            return int(self.client.stat_object(bucket_name=self.bucket, object_name=key).size or 0)

    def keys(self, prefix: str = "") -> Iterator[str]:
        with _asking():
            for found in self.client.list_objects(
                bucket_name=self.bucket, prefix=prefix or None, recursive=True
            ):
                yield str(found.object_name)

    def folders(self, prefix: str) -> list[str]:
        with _asking():
            found = self.client.list_objects(bucket_name=self.bucket, prefix=prefix)
            return sorted(str(one.object_name) for one in found if one.is_dir)

    def discard(self, key: str) -> None:
        with _asking():
            self.client.remove_object(bucket_name=self.bucket, object_name=key)


class _OnceMore(urllib3.Retry):
    """A connection that was closed while idle is tried again; a server that said nothing is not."""

    def increment(self, *words: Any, **named: Any) -> Self:
        if isinstance(error := named.get("error"), urllib3.exceptions.ReadTimeoutError):
            raise error
        return super().increment(*words, **named)


def _impatient() -> urllib3.PoolManager:
    """The SDK's own pool would wait for five minutes, six times."""
    retries = _OnceMore(
        total=2, connect=1, read=1, status=2, backoff_factor=0.2, status_forcelist=(500, 502, 503, 504)
    )
    timeout = urllib3.Timeout(connect=S3_CONNECT, read=S3_ANSWER)
    authorities = os.environ.get("SSL_CERT_FILE") or certifi.where()
    return urllib3.PoolManager(
        timeout=timeout,
        maxsize=S3_CONNECTIONS,
        retries=retries,
        cert_reqs="CERT_REQUIRED",
        ca_certs=authorities,
    )


@contextmanager
def _asking(key: str | None = None) -> Iterator[None]:
    """What the SDK raises, as this module says it."""
    try:
        yield
    except S3Error as error:
        if key is not None and error.code in _GONE:
            raise ObjectMissing(key) from None
        if error.response is not None and error.response.status >= 500:
            raise StoreAway(f"the object store cannot now: {error.code}") from None
        raise
    except (MinioException, urllib3.exceptions.HTTPError) as error:
        raise StoreAway(f"the object store does not answer: {type(error).__name__}") from None


class _SpooledDraft:
    """Gathered in memory, then in a temporary file, and sent when it is whole."""

    def __init__(self, store: S3Store, key: str) -> None:
        self._store = store
        self._key = key
        self._spool: BinaryIO = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # type: ignore[assignment] # noqa: SIM115

    def write(self, *pieces: bytes | bytearray | memoryview) -> None:
        for piece in pieces:
            self._spool.write(piece)

    def hasten(self) -> None:
        """It goes as a whole."""

    def patch(self, at: int, piece: bytes) -> None:
        self._spool.seek(at)
        self._spool.write(piece)
        self._spool.seek(0, os.SEEK_END)

    @contextmanager
    def reading(self, at: int) -> Iterator[BinaryIO]:
        self._spool.seek(at)
        yield self._spool

    def keep(self) -> None:
        length = self._spool.seek(0, os.SEEK_END)
        self._spool.seek(0)
        self._store.put(self._key, self._spool, length)

    def abandon(self) -> None:
        self._spool.close()


class _S3Stream(io.RawIOBase, BinaryIO):
    """The body of a GET; closing it gives the connection back to the pool."""

    def __init__(self, response: object) -> None:
        self._response = response

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        with _asking():
            return self._response.read(None if size is None or size < 0 else size)  # type: ignore[attr-defined,no-any-return]

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        chunk = self.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def close(self) -> None:
        self._response.close()  # type: ignore[attr-defined]
        self._response.release_conn()  # type: ignore[attr-defined]
        super().close()
