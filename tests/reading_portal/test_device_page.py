"""The device's page: does it answer, and what would its worklist show it now."""

from __future__ import annotations

from pathlib import Path

import pytest
from pynetdicom import AE

from dicom_node.deliveries import handlers
from storage.database import utc_now
from storage.institutions import ApplicationEntity
from tests.builders import an_order
from tests.dicom_node.conftest import settings_for
from tests.pairs import Pair
from tests.reading_portal.conftest import Portal
from worklist.device_tests import last_test
from worklist.worker import run_job

HTML = {"accept": "text/html"}


def call(portal: Portal, pair: Pair, folder: Path, *, port: int) -> str:
    """Declare where T01_CT listens, press the button, let the worker work; the page afterwards."""
    with portal.database.transaction() as session:
        device = session.get(ApplicationEntity, "T01_CT")
        assert device is not None
        device.host, device.port = "127.0.0.1", port
    browser, token = portal.browser("admin")
    asked = browser.post("/admin/devices/T01_CT/test", data={"csrf_token": token}, follow_redirects=False)
    assert asked.headers["location"] == "/admin/devices/T01_CT?said=device-test"
    with portal.database.reading() as session:
        assert last_test(session, "T01_CT").is_waiting
    work = handlers(portal.database, portal.objects, settings_for(pair, folder))
    assert run_job(portal.database, work, owner="worker")
    return browser.get("/admin/devices/T01_CT", headers=HTML | {"accept-language": "en"}).text


def test_a_device_that_answers_is_seen_to_answer(
    quick_portal: Portal, sqlite_pair: Pair, tmp_path: Path
) -> None:
    entity = AE("T01_CT")
    entity.add_supported_context("1.2.840.10008.1.1")
    server = entity.start_server(("127.0.0.1", 0), block=False)
    assert server is not None

    try:
        page = call(quick_portal, sqlite_pair, tmp_path, port=server.server_address[1])
    finally:
        server.shutdown()

    assert "tag-good" in page
    with quick_portal.database.reading() as session:
        found = last_test(session, "T01_CT")
    assert (found.is_good, found.is_waiting) == (True, False)
    assert found.milliseconds is not None


def test_a_device_that_is_off_is_seen_not_to_answer(
    quick_portal: Portal, sqlite_pair: Pair, tmp_path: Path
) -> None:
    page = call(quick_portal, sqlite_pair, tmp_path, port=9)

    assert "tag-bad" in page
    with quick_portal.database.reading() as session:
        found = last_test(session, "T01_CT")
    assert (found.is_good, found.reason) == (
        False,
        "the device could not be reached or refused the association",
    )


def test_the_page_shows_what_the_worklist_answers_now_without_names(quick_portal: Portal) -> None:
    order = an_order(quick_portal.database, now=utc_now())
    browser, _ = quick_portal.browser("admin")

    page = browser.get("/admin/devices/T01_CT", headers=HTML).text
    neighbour = browser.get("/admin/devices/T02_CT", headers=HTML).text

    assert order.accession_number in page
    assert "Z.S." in page
    assert "张三" not in page
    assert order.accession_number not in neighbour


@pytest.mark.parametrize("name", ["ma", "zhou"])
def test_only_an_administrator_calls_devices(quick_portal: Portal, name: str) -> None:
    browser, token = quick_portal.browser(name)

    answer = browser.post("/admin/devices/T01_CT/test", data={"csrf_token": token}, follow_redirects=False)

    assert answer.status_code in (403, 404)
