"""OHIF as it comes prebuilt from npm, unmodified, on our DICOMweb: the rival of the reading page.

`python -m benchmarks.ohif` is the little server: OHIF's files at the root of a host of its own, each
compressed beforehand as our own bundle is, and under /dicom-web this product's own portal in the same
process, so that no further hop stands in OHIF's way. The session of the reader is put into its requests here,
because OHIF would need an OpenID provider to carry one itself.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.county import KEPT
from tests.servers.centre import AllInOne, is_listening
from tests.servers.process import free_port, start, stop

VERSION = "3.13.2"
CONFIGURATION = Path(__file__).with_name("ohif_config.js")
COMPRESS = r"""
const fs = require("fs"), zlib = require("zlib"), path = require("path");
const walk = (d) => fs.readdirSync(d, { withFileTypes: true })
  .flatMap((e) => e.isDirectory() ? walk(path.join(d, e.name)) : [path.join(d, e.name)]);
for (const f of walk(process.argv[1])) {
  if (!/\.(js|css|wasm|html|json|svg)$/.test(f) || /ort-|onnx/.test(f) || fs.existsSync(f + ".br")) continue;
  const bytes = fs.readFileSync(f);
  if (bytes.length < 1024 || bytes.length > 2.5e7) continue;
  const quality = { [zlib.constants.BROTLI_PARAM_QUALITY]: 10 };
  fs.writeFileSync(f + ".br", zlib.brotliCompressSync(bytes, { params: quality }));
}
"""


def unpacked() -> Path:
    """OHIF's `dist`, from the npm registry the first time; every text beside its Brotli form."""
    folder = KEPT / f"ohif-{VERSION}"
    dist = folder / "package" / "dist"
    if (folder / "complete").exists():
        return dist
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    packed = subprocess.run(
        ["npm", "pack", "--silent", f"@ohif/app@{VERSION}"],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    with tarfile.open(folder / packed.stdout.split()[-1]) as archive:
        archive.extractall(folder, filter="data")
    subprocess.run(["node", "-e", COMPRESS, str(dist)], check=True)
    (folder / "complete").touch()
    return dist


@contextmanager
def ohif(centre: AllInOne, token: str, folder: Path) -> Iterator[int]:
    """The port of OHIF over this centre, for the reader whose token it is."""
    dist, port = unpacked(), free_port()
    command = [sys.executable, "-m", "benchmarks.ohif", str(dist), str(port)]
    environment = {**centre.environment, "BENCHMARK_TOKEN": token, "READING_CENTER_LOG_LEVEL": "WARNING"}
    process = start(command, log=folder / "ohif.log", env=environment, cwd=Path.cwd())
    try:
        centre.wait_until("OHIF is served", lambda: is_listening(port), within=60)
        yield port
    finally:
        stop(process)


def main() -> None:
    import uvicorn

    from center import compose
    from reading_portal.app import build_app
    from storage.settings import from_environment

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dist", type=Path)
    parser.add_argument("port", type=int)
    arguments = parser.parse_args()
    settings = from_environment()
    with compose.open_database(settings) as database:
        portal = build_app(settings, database, compose.open_objects(settings))
        site = _Site(arguments.dist, portal, os.environ["BENCHMARK_TOKEN"])
        uvicorn.run(site, port=arguments.port, log_level="warning", access_log=False, timeout_keep_alive=30)


class _Site:
    """ASGI: /dicom-web is the portal's, with the session put in; everything else a file, or the page."""

    def __init__(self, dist: Path, portal: Any, token: str) -> None:
        self.dist, self.portal = dist, portal
        self.token = f"Bearer {token}".encode()
        self.types = json.loads(TYPES)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/dicom-web"):
            if scope["type"] == "http":
                scope = {**scope, "headers": [*scope["headers"], (b"authorization", self.token)]}
            await self.portal(scope, receive, send)
            return
        status, headers, body = self._file(scope["path"], dict(scope["headers"]))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _file(self, path: str, asked: dict[bytes, bytes]) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        if path == "/app-config.js":
            file = CONFIGURATION
        else:
            file = self.dist / path.lstrip("/")
            if not file.resolve().is_relative_to(self.dist.resolve()) or not file.is_file():
                if file.suffix:
                    return 404, [(b"content-length", b"0")], b""
                file = self.dist / "index.html"
        kind = self.types.get(file.suffix, "application/octet-stream")
        # As any web server in front of OHIF would have it: names with a hash are kept for ever.
        keep = "max-age=31536000, immutable" if len(file.stem.split(".")[-1]) == 16 else "no-cache"
        headers = [(b"content-type", kind.encode()), (b"cache-control", keep.encode())]
        compressed = file.with_name(file.name + ".br")
        if b"br" in asked.get(b"accept-encoding", b"") and compressed.is_file():
            file = compressed
            headers.append((b"content-encoding", b"br"))
        body = file.read_bytes()
        return 200, [*headers, (b"content-length", str(len(body)).encode())], body


TYPES = """{".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css",
".wasm": "application/wasm", ".json": "application/json", ".svg": "image/svg+xml", ".png": "image/png",
".woff2": "font/woff2"}"""


if __name__ == "__main__":
    main()
