"""The portal's own files: a bundle whose name carries its hash is kept for ever, and sent compressed.

The build lays `name.br` and `name.gz` beside a file; nothing is compressed while somebody waits.
"""

from __future__ import annotations

import mimetypes
import re
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC = Path(__file__).parent / "static"
# `reading-9f3k2Lq8.js`: other content would have another name.
HASHED = re.compile(r"^viewer/assets/.*-[A-Za-z0-9_-]{8}\.[a-z0-9]+$")
ENCODINGS = {"br": ".br", "gzip": ".gz"}  # the smallest first
TYPES = {".js": "text/javascript", ".wasm": "application/wasm", ".css": "text/css", ".svg": "image/svg+xml"}


class PortalFiles(StaticFiles):
    def __init__(self, folder: Path = STATIC) -> None:
        super().__init__(directory=folder, check_dir=False)

    async def get_response(self, path: str, scope: Scope) -> Response:
        encoding = self._encoding(path, Headers(scope=scope).get("accept-encoding", ""))
        response = await super().get_response(path + ENCODINGS.get(encoding, ""), scope)
        headers = response.headers
        headers["cache-control"] = (
            "public, max-age=31536000, immutable" if HASHED.search(path) is not None else "no-cache"
        )
        headers["vary"] = "accept-encoding"
        if "content-type" in headers:
            headers["content-type"] = media_type(path)
        if encoding:
            headers["content-encoding"] = encoding
        return response

    def _encoding(self, path: str, accepted: str) -> str:
        """The best encoding that the client takes and that lies beside the file; none of them is empty."""
        wanted = {
            one.split(";")[0].strip()
            for one in accepted.lower().split(",")
            if not one.strip().endswith("q=0")
        }
        for encoding, suffix in ENCODINGS.items():
            if encoding in wanted and self.lookup_path(path + suffix)[1] is not None:
                return encoding
        return ""


def media_type(path: str) -> str:
    suffix = Path(path).suffix
    known = TYPES.get(suffix) or mimetypes.guess_type(path)[0] or "application/octet-stream"
    return f"{known}; charset=utf-8" if known.startswith("text/") else known
