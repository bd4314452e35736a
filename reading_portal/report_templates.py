"""Ready-made words for a report: which ones fit an exam, the normal one first."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, slots=True)
class ReportTemplate:
    """Findings and impression in the language of the report."""

    code: str
    name: str
    findings: str
    impression: str
    is_normal: bool


def templates_for(modality: str, body_part: str, *, language: str) -> list[ReportTemplate]:
    """Templates of this modality, those of this body part before those without one; normal ones first."""
    fitting = [
        one
        for one in _all()
        if modality in one["modalities"] and (not one["parts"] or body_part.upper() in one["parts"])
    ]
    fitting.sort(key=lambda one: (not one.get("is_normal", True), not one["parts"]))
    return [_said(one, "" if language == "zh-CN" else "_en") for one in fitting]


def _said(one: dict[str, Any], suffix: str) -> ReportTemplate:
    name, findings, impression = (one[key + suffix].strip() for key in ("name", "findings", "impression"))
    return ReportTemplate(one["code"], name, findings, impression, one.get("is_normal", True))


@cache
def _all() -> list[dict[str, Any]]:
    text = files("reading_portal").joinpath("report_templates.toml").read_text("utf-8")
    loaded: list[dict[str, Any]] = tomllib.loads(text)["templates"]
    return loaded
