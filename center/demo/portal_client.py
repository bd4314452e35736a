"""The portal as the demo's people use it: sign in, place an order, read and sign."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from center.demo import county


class PortalRefused(Exception):
    """The portal answered, and the answer was no; `status` is HTTP's."""

    def __init__(self, status: int, path: str) -> None:
        super().__init__(f"{path.split('?')[0]} answered {status}")
        self.status = status


class PortalClient:
    """One portal, many people; each signs in when first needed. OSError where the portal is not there."""

    def __init__(self, address: str) -> None:
        self._address = address.rstrip("/")
        self._tokens: dict[str, str] = {}
        # A password that somebody changed is not tried again and again: the account would be locked.
        self._refused: set[str] = set()

    def is_ready(self) -> bool:
        try:
            self._call("GET", "/readyz", None, None)
        except (OSError, PortalRefused):
            return False
        return True

    def ask(self, username: str, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Call as this person; the decoded answer. Raises PortalRefused."""
        if username not in self._tokens:
            self._sign_in(username)
        try:
            return self._call(method, path, body, self._tokens[username])
        except PortalRefused as refusal:
            if refusal.status != 401:
                raise
        self._sign_in(username)  # the session had ended
        return self._call(method, path, body, self._tokens[username])

    def _sign_in(self, username: str) -> None:
        if username in self._refused:
            raise PortalRefused(401, "/api/sessions")
        words = {"username": username, "password": county.password(username)}
        try:
            self._tokens[username] = self._call("POST", "/api/sessions", words, None)["token"]
        except PortalRefused as refusal:
            if refusal.status == 401:
                self._refused.add(username)
            raise

    def _call(self, method: str, path: str, body: dict[str, Any] | None, token: str | None) -> Any:
        headers = {"Accept": "application/json"}
        data = None
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(  # noqa: S310 - the address is the operator's, the path ours
            self._address + path, data, headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                content = answer.read()
        except urllib.error.HTTPError as error:
            error.close()
            raise PortalRefused(error.code, path) from None
        try:
            return json.loads(content) if content else None
        except ValueError:
            return None
