"""The traffic remembers: what was sent is not sent again, and there is an end."""

import json
from pathlib import Path

from center.demo.order_book import OPENING
from center.demo.portal_client import PortalClient
from center.demo.traffic import Center, Limits, Traffic

NOWHERE = Center("127.0.0.1", 9, "READINGCENTER")
NOBODY = PortalClient("http://127.0.0.1:9")  # nobody listens there: the portal is away


def test_a_fresh_start_says_that_it_is_running_and_until_when(tmp_path: Path) -> None:
    Traffic(tmp_path, NOBODY, NOWHERE, Limits())

    state = json.loads((tmp_path / "demo.json").read_text())

    assert state["state"] == "running"
    assert state["sent_studies"] == state["sent_bytes"] == 0
    assert state["until"].endswith("+00:00")


def test_while_the_portal_is_away_nothing_is_lost(tmp_path: Path) -> None:
    traffic = Traffic(tmp_path, NOBODY, NOWHERE, Limits())

    for _ in range(3):
        traffic.step()

    assert traffic.state["done"] == []
    assert not traffic.has_ended


def test_a_restart_goes_on_where_it_stopped(tmp_path: Path) -> None:
    sent = [case.key for case in OPENING]
    kept = {"state": "running", "sent_studies": 20, "sent_bytes": 5, "done": sent, "later": 7}
    (tmp_path / "demo.json").write_text(json.dumps(kept))

    traffic = Traffic(tmp_path, NOBODY, NOWHERE, Limits())
    case = traffic._next_case()

    assert case is not None
    assert case.key == "later-7"


def test_an_order_that_a_restart_interrupted_is_carried_out(tmp_path: Path) -> None:
    order = {"id": 31, "accession_number": "261122000031", "institution": "T01"}
    kept = {"done": [case.key for case in OPENING], "later": 7, "orders": {"later-6": order}}
    (tmp_path / "demo.json").write_text(json.dumps(kept))

    case = Traffic(tmp_path, NOBODY, NOWHERE, Limits())._next_case()

    assert case is not None
    assert case.key == "later-6"


def test_enough_bytes_end_the_traffic_and_the_page_can_say_why(tmp_path: Path) -> None:
    (tmp_path / "demo.json").write_text(json.dumps({"sent_studies": 40, "sent_bytes": 3 * 10**9}))
    traffic = Traffic(tmp_path, NOBODY, NOWHERE, Limits())

    traffic.step()

    assert traffic.has_ended
    state = json.loads((tmp_path / "demo.json").read_text())
    assert (state["state"], state["reason"]) == ("ended", "bytes")
    assert Traffic(tmp_path, NOBODY, NOWHERE, Limits()).has_ended


def test_a_day_ends_the_traffic(tmp_path: Path) -> None:
    traffic = Traffic(tmp_path, NOBODY, NOWHERE, Limits(hours=0))

    traffic.step()

    assert traffic.state["reason"] == "time"
