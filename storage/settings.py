"""Typed settings from the environment, prefix READING_CENTER_; each also as …_FILE for secrets.

Nonsense is refused at start with the setting's name, so that a typing error is never a silent default.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, urlsplit

from storage.uids import is_uid

PREFIX = "READING_CENTER_"

T = TypeVar("T")
D = TypeVar("D")


class BadSetting(ValueError):
    """A setting has a value that makes no sense; the message names the setting."""


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError("a port lies between 0 and 65535")
    return port


def _ae_title(text: str) -> str:
    """PS3.5 6.2: an AE title has 1 to 16 characters of the default repertoire, without backslash."""
    if not 0 < len(text.strip()) <= 16 or not text.isascii() or not text.isprintable() or "\\" in text:
        raise ValueError("an AE title has 1 to 16 printable ASCII characters")
    return text.strip()


def _log_level(text: str) -> str:
    if text.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
        raise ValueError("one of DEBUG, INFO, WARNING, ERROR")
    return text.upper()


def _database_url(text: str) -> str:
    if not text.startswith(("sqlite:///", "postgresql+psycopg://")):
        raise ValueError("it starts with sqlite:/// or postgresql+psycopg://")
    return text


def _object_store(text: str) -> str:
    if urlsplit(text).scheme not in {"file", "s3"}:
        raise ValueError("it starts with file:/// or s3://")
    return text


def _ingest(text: str) -> str:
    if text not in {"store", "spool"}:
        raise ValueError("store or spool")
    return text


# What these name keeps its pixels elsewhere: it cannot be kept byte by byte.
_JPIP = {f"1.2.840.10008.1.2.4.{number}" for number in (94, 95, 204, 205)}


def _uids(text: str) -> tuple[str, ...]:
    found = tuple(text.replace(",", " ").split())
    if not all(is_uid(uid) or uid == "*" for uid in found):
        raise ValueError("UIDs, with commas between them; or * for whatever nobody knows")
    return found


def _transfer_syntaxes(text: str) -> tuple[str, ...]:
    found = _uids(text)
    if "*" in found or _JPIP & set(found):
        raise ValueError(
            "UIDs of transfer syntaxes, with commas between them; JPIP keeps its pixels elsewhere"
        )
    return found


def _rate(text: str) -> float:
    rate = float(text)
    if not 0 <= rate <= 10_000:
        raise ValueError("megabytes in a second, between 0 and 10000")
    return rate


def _existing_file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise ValueError("no such file")
    return path


def _public_url(text: str) -> str:
    if urlsplit(text).scheme not in {"http", "https"} or not urlsplit(text).netloc:
        raise ValueError("it starts with http:// or https://")
    return text.rstrip("/")


def _secret(text: str) -> str:
    if len(text) < 32:
        raise ValueError("a secret has at least 32 characters")
    return text


@dataclass(frozen=True)
class Settings:
    """Everything that a role needs to start. Paths are absolute; ports of 0 are turned off."""

    data: Path
    database_url: str
    object_store: str
    ingest: str
    scrub_rate: float  # megabytes in a second; 0 turns the scrub off
    http_host: str
    http_port: int
    public_url: str
    dicom_host: str
    dicom_port: int
    dicom_tls_port: int
    dicom_tls_cert: Path | None
    dicom_tls_key: Path | None
    dicom_tls_ca: Path | None
    metrics_host: str
    metrics_port: int
    ae_title: str
    storage_sop_classes: tuple[str, ...]  # beside the standard's; "*" is whatever nobody knows
    storage_transfer_syntaxes: tuple[str, ...]
    log_level: str
    secret_key: str


def from_environment(
    environment: Mapping[str, str] | None = None, *, only_looks: bool = False, **overrides: str | None
) -> Settings:
    """Read the settings; `overrides` are the command line's words (`data`, `http_port`, …) and win.

    Creates the data folder and, where no SECRET_KEY is given, a key inside it that later starts reuse;
    with `only_looks` it makes neither, and the key is empty where there is none.
    Raises BadSetting with the setting's name.
    """
    env = os.environ if environment is None else environment
    words = {key.upper(): value for key, value in overrides.items() if value is not None}

    def text(name: str) -> str | None:
        if name in words:
            return words[name]
        if (path := env.get(f"{PREFIX}{name}_FILE")) is not None:
            try:
                return Path(path).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise BadSetting(
                    f"{PREFIX}{name}_FILE names a file that cannot be read: {error.strerror}"
                ) from None
        return env.get(PREFIX + name)

    def read(name: str, kind: Callable[[str], T], default: D) -> T | D:
        value = text(name)
        if value is None or value == "":
            return default
        try:
            return kind(value)
        except ValueError as error:
            raise BadSetting(f"{PREFIX}{name} makes no sense: {error}") from None

    data = read("DATA", Path, Path("data")).absolute()
    if not only_looks:
        data.mkdir(parents=True, exist_ok=True)
    http_host = read("HTTP_HOST", str, "127.0.0.1")
    http_port = read("HTTP_PORT", _port, 8080)
    object_store = read("OBJECT_STORE", _object_store, f"file://{quote(str(data / 'objects'))}")
    ingest = read("INGEST", _ingest, "store")
    if ingest == "spool" and not object_store.startswith("s3:"):
        raise BadSetting(f"{PREFIX}INGEST makes no sense: a spool is for an object store of s3://")
    return Settings(
        data=data,
        database_url=read("DATABASE_URL", _database_url, f"sqlite:///{data / 'center.sqlite'}"),
        object_store=object_store,
        ingest=ingest,
        scrub_rate=read("SCRUB_RATE", _rate, 5.0),
        http_host=http_host,
        http_port=http_port,
        public_url=read("PUBLIC_URL", _public_url, f"http://{http_host}:{http_port}"),
        dicom_host=read("DICOM_HOST", str, "127.0.0.1"),
        dicom_port=read("DICOM_PORT", _port, 11112),
        dicom_tls_port=read("DICOM_TLS_PORT", _port, 2762),
        dicom_tls_cert=read("DICOM_TLS_CERT", _existing_file, None),
        dicom_tls_key=read("DICOM_TLS_KEY", _existing_file, None),
        dicom_tls_ca=read("DICOM_TLS_CA", _existing_file, None),
        metrics_host=read("METRICS_HOST", str, "127.0.0.1"),
        metrics_port=read("METRICS_PORT", _port, 0),
        ae_title=read("AE_TITLE", _ae_title, "READINGCENTER"),
        storage_sop_classes=read("STORAGE_SOP_CLASSES", _uids, ()),
        storage_transfer_syntaxes=read("STORAGE_TRANSFER_SYNTAXES", _transfer_syntaxes, ()),
        log_level=read("LOG_LEVEL", _log_level, "INFO"),
        secret_key=read("SECRET_KEY", _secret, "")
        or ("" if only_looks else _kept_secret(data / "secret-key")),
    )


def _kept_secret(path: Path) -> str:
    """The embedded default makes its own secret once; the first of two racing starts wins."""
    try:
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(48))
    except FileExistsError:
        pass
    return path.read_text(encoding="utf-8").strip()
