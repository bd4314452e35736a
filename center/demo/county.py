"""The demo county as its declaration says: devices, and who places orders with which password."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class Device:
    """One application entity of the declaration."""

    ae_title: str
    institution: str
    institution_name: str
    modality: str
    port: int
    may: tuple[str, ...]


def text() -> str:
    """The declaration as it is shipped."""
    return files("center.demo").joinpath("center.toml").read_text(encoding="utf-8")


@cache
def declaration() -> dict[str, Any]:
    return tomllib.loads(text())


@cache
def devices() -> dict[str, Device]:
    """AE title → device."""
    names = {entry["code"]: entry["name"] for entry in declaration()["institutions"]}
    everything = ("store", "find", "move", "get", "worklist", "mpps", "commit")
    return {
        entry["ae_title"]: Device(
            entry["ae_title"],
            entry["institution"],
            names[entry["institution"]],
            entry["modality"],
            entry["port"],
            tuple(entry.get("may", everything)),
        )
        for entry in declaration()["devices"]
    }


def person(institution: str, role: str) -> dict[str, Any]:
    """The first person of an institution with a role; StopIteration where there is none."""
    return next(
        entry
        for entry in declaration()["people"]
        if entry["institution"] == institution and role in entry["roles"]
    )


def password(username: str) -> str:
    return str(next(entry["password"] for entry in declaration()["people"] if entry["username"] == username))
