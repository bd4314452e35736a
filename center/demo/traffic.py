"""The traffic of the demo county: orders through the portal, devices that carry them out, state on disk.

One thread looks round a few times a second: which device has finished, which order is next, which report
is to be written. Everything that must survive a restart is in `demo.json` in the data folder.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from center.demo import county, processes
from center.demo.devices import Assignment, Performed, work
from center.demo.order_book import OPENING, Case, later_case
from center.demo.phantoms.repertoire import SLOW_TO_DRAW, is_prepared, prepare
from center.demo.portal_client import PortalClient, PortalRefused

logger = structlog.get_logger("demo")

GIGABYTE = 10**9
AT_ONCE = 2  # devices that work at the same time
ATTEMPTS = 3  # of a case, before it is given up
SETTLED = {"acquired", "reported", "closed"}
READER = "chen"
PATIENCE = timedelta(minutes=10)  # for a study to settle, for a task to appear


@dataclass(frozen=True)
class Limits:
    """When the traffic ends, and how dense it is until then."""

    interval: float = 90.0  # seconds between studies after the opening
    bytes: int = 3 * GIGABYTE
    hours: float = 24.0


@dataclass(frozen=True)
class Center:
    """Where the centre listens."""

    dicom_host: str
    dicom_port: int
    aet: str


class Traffic:
    """Call `step` again and again; `stop` ends the devices. Nothing is done twice across restarts."""

    def __init__(self, data: Path, portal: PortalClient, center: Center, limits: Limits) -> None:
        self._portal, self._center, self._limits = portal, center, limits
        self._path = data / "demo.json"
        self._folder = data / "demo" / "phantoms"
        self._drawing: processes.Fork[None] | None = None
        self._running: dict[str, tuple[Case, processes.Fork[Performed]]] = {}
        self._next_at = 0.0
        self._look_at = 0.0
        self._pause_until = 0.0
        self._ask_at = 0.0
        self._failures: dict[str, int] = {}
        self.state = self._resume()
        if self.state["state"] == "running":
            self._keep()

    def _resume(self) -> dict[str, Any]:
        now = datetime.now(UTC)
        fresh: dict[str, Any] = {
            "state": "running",
            "reason": None,
            "sent_studies": 0,
            "sent_bytes": 0,
            "until": (now + timedelta(hours=self._limits.hours)).isoformat(timespec="seconds"),
            "orders": {},
            "done": [],
            "later": 0,
            "to_report": [],
        }
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return fresh
        return fresh | kept if isinstance(kept, dict) else fresh

    def _keep(self) -> None:
        unfinished = self._path.with_suffix(".json.part")
        unfinished.write_text(json.dumps(self.state, ensure_ascii=False, indent=1), encoding="utf-8")
        unfinished.replace(self._path)

    @property
    def has_ended(self) -> bool:
        return bool(self.state["state"] == "ended")

    def draw_ahead(self) -> None:
        """Begin with the thorax at once, so that it is there when its turn comes."""
        if not self.has_ended and not is_prepared(self._folder):
            logger.info("drawing-the-thorax", seconds="about 15, once")
            self._drawing = processes.fork(prepare, self._folder)

    def step(self) -> None:
        """Look round once."""
        if self.has_ended:
            return
        self._collect()
        self._end_when_enough()
        if self.has_ended:
            return
        now = time.monotonic()
        if self._drawing is not None and self._drawing.has_ended:
            self._drawing.answer()
            self._drawing = None
            logger.info("thorax-drawn")
        if now >= self._look_at:
            self._look_at = now + 2
            self._write_reports()
        while len(self._running) < AT_ONCE and time.monotonic() >= self._pause_until:
            case = self._next_case()
            if case is None:
                break
            self._begin(case)

    def stop(self) -> None:
        for _, device in self._running.values():
            device.stop()
        self._running.clear()
        if self._drawing is not None:
            self._drawing.stop()

    # --- what is next ---------------------------------------------------------------------------------

    def _next_case(self) -> Case | None:
        waiting = [case for case in OPENING if self._is_open(case)]
        for case in waiting:
            if self._is_free(case) and (not case.after or self._has_settled(case.after)):
                return case
        if any(not case.after for case in waiting) or any(key in self._running for key in _OPENING_KEYS):
            return None
        if time.monotonic() < self._next_at:
            return None
        self._next_at = time.monotonic() + self._limits.interval
        today = datetime.now(UTC).date()
        # Ordered before a restart, and not carried out since.
        for key in self.state["orders"]:
            if key.startswith("later-") and key not in self.state["done"] and key not in self._running:
                return later_case(int(key.removeprefix("later-")), today=today)
        case = later_case(self.state["later"], today=today)
        if not self._is_free(case):
            return None
        self.state["later"] += 1
        return case

    def _is_open(self, case: Case) -> bool:
        return case.key not in self.state["done"] and case.key not in self._running

    def _is_free(self, case: Case) -> bool:
        """A scanner examines one patient at a time; a CT waits until there is a thorax to show."""
        if case.phantom in SLOW_TO_DRAW and self._drawing is not None:
            return False
        return all(other.device != case.device for other, _ in self._running.values())

    def _has_settled(self, key: str) -> bool:
        """Whether the order of another case has its study. Asked at most every two seconds."""
        order = self.state["orders"].get(key)
        if key not in self.state["done"] or order is None or time.monotonic() < self._ask_at:
            return False
        self._ask_at = time.monotonic() + 2
        try:
            answer = self._portal.ask(_orderer(order["institution"]), "GET", f"/api/orders/{order['id']}")
        except (OSError, PortalRefused):
            return False
        return str(answer["state"]) in SETTLED

    # --- doing it -------------------------------------------------------------------------------------

    def _begin(self, case: Case) -> None:
        """Place the order, then send the device to work."""
        try:
            order = self.state["orders"].get(case.key) or self._place(case)
        except OSError:
            self._pause_until = time.monotonic() + 5  # the portal is away; it will be back
            return
        except PortalRefused as refusal:
            self._pause_until = time.monotonic() + (30 if refusal.status >= 500 else 2)
            logger.warning("order-refused", case=case.key, status=refusal.status)
            self._fail(case)
            return
        self.state["orders"][case.key] = order
        self._keep()
        if not case.phantom:
            logger.info("order-placed", case=case.key)
            self._finish(case)
            return
        words = Assignment(
            device=case.device,
            phantom=case.phantom,
            accession_number=order["accession_number"],
            seed=case.seed,
            host=self._center.dicom_host,
            port=self._center.dicom_port,
            aet=self._center.aet,
            folder=str(self._folder),
            findings=case.findings,
            days_ago=case.days_ago,
            description=case.description,
            typed=_typed(case) if case.typed else None,
        )
        self._running[case.key] = (case, processes.fork(work, words))
        logger.info("exam-begun", case=case.key, device=case.device)

    def _place(self, case: Case) -> dict[str, Any]:
        patient = case.patient
        body: dict[str, Any] = {
            "institution": case.institution,
            "patient": {
                "patient_id": patient.patient_id,
                "name": patient.name,
                "name_phonetic": patient.phonetic,
                "sex": patient.sex,
                "birth_date": patient.birth_date.isoformat(),
                "national_id": patient.national_id,
            },
            "modality": case.modality,
            "body_part": case.body_part,
            "priority": case.priority,
            "pathway": case.pathway,
            "clinical_information": case.clinical_information,
            "station_ae": case.device,
        }
        answer = self._portal.ask(_orderer(case.institution), "POST", "/api/orders", body)
        return {
            "id": answer["id"],
            "accession_number": answer["accession_number"],
            "institution": case.institution,
        }

    def _collect(self) -> None:
        """Take in what devices have finished."""
        for key, (case, device) in list(self._running.items()):
            if not device.has_ended:
                continue
            del self._running[key]
            performed = device.answer() or Performed(failed="the device's process died")
            if performed.failed is not None:
                logger.warning("exam-failed", case=key, device=case.device, reason=performed.failed)
                self._fail(case)
                continue
            self.state["sent_studies"] += 1
            self.state["sent_bytes"] += performed.bytes
            if case.report is not None:
                self.state["to_report"].append({"case": key, "since": datetime.now(UTC).isoformat()})
            logger.info("exam-sent", case=key, device=case.device, instances=performed.instances)
            self._finish(case)

    def _finish(self, case: Case) -> None:
        self.state["done"] = [*self.state["done"], case.key][-400:]
        for key in [key for key in self.state["orders"] if key.startswith("later-")][:-20]:
            del self.state["orders"][key]
        self._keep()

    def _fail(self, case: Case) -> None:
        self._failures[case.key] = self._failures.get(case.key, 0) + 1
        if self._failures[case.key] >= ATTEMPTS:
            self._finish(case)

    # --- the county's reader, for the reports with which the demo begins ---------------------------------

    def _write_reports(self) -> None:
        now = datetime.now(UTC)
        for wish in list(self.state["to_report"]):
            order = self.state["orders"].get(wish["case"])
            is_late = now - datetime.fromisoformat(wish["since"]) > PATIENCE
            if order is None or is_late or self._report(wish["case"], order["accession_number"]):
                self.state["to_report"].remove(wish)
                self._keep()

    def _report(self, key: str, accession_number: str) -> bool:
        """Claim, write and sign; True when it is done or never will be."""
        words = next((case.report for case in OPENING if case.key == key), None)
        if words is None:
            return True
        try:
            task = self._task_of(accession_number)
            if task is None:
                return False
            path = f"/api/reading-tasks/{task}"
            fence = self._portal.ask(READER, "POST", f"{path}/claim", {})["fence"]
            draft = {"fence": fence, **asdict(words)}
            self._portal.ask(READER, "PUT", f"{path}/report", draft)
            signature = {"fence": fence, "password": county.password(READER)}
            self._portal.ask(READER, "POST", f"{path}/sign", signature)
        except OSError:
            return False
        except PortalRefused as refusal:
            logger.warning("report-refused", case=key, status=refusal.status)
            return True  # somebody else has it, and may keep it
        logger.info("report-signed", case=key)
        return True

    def _task_of(self, accession_number: str) -> int | None:
        answer = self._portal.ask(READER, "GET", "/api/reading-tasks?state=ready&limit=200")
        for item in answer["items"]:
            if item["accession_number"] == accession_number:
                return int(item["id"])
        return None

    # --- the end ----------------------------------------------------------------------------------------

    def _end_when_enough(self) -> None:
        reason = None
        if self.state["sent_bytes"] >= self._limits.bytes:
            reason = "bytes"
        elif datetime.now(UTC) >= datetime.fromisoformat(self.state["until"]):
            reason = "time"
        if reason is not None and not self._running:
            self.state |= {"state": "ended", "reason": reason}
            self._keep()
            logger.info("traffic-ended", reason=reason, studies=self.state["sent_studies"])


_OPENING_KEYS = {case.key for case in OPENING}


def _orderer(institution: str) -> str:
    """Who orders at an institution: a clinician where there is one, else the technician."""
    try:
        return str(county.person(institution, "clinician")["username"])
    except StopIteration:
        return str(county.person(institution, "technician")["username"])


def _typed(case: Case) -> dict[str, str]:
    """The patient as a hurried operator types one: pinyin only, and the ID with a slip."""
    return {
        "patient_id": f"{case.patient.patient_id}-1",
        "patient_name": case.patient.phonetic.replace(" ", "^"),
        "sex": case.patient.sex,
        "birth_date": f"{case.patient.birth_date:%Y%m%d}",
        "description": "CHEST PA",
    }
