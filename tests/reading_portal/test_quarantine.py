"""Who sees two contents of one UID on the pages and by the programs' door, and how one of them decides."""

from __future__ import annotations

from io import BytesIO

import httpx
import pytest
from PIL import Image
from sqlalchemy import select

from reading_portal.side_by_side import Pixels, compare
from storage.audit import AuditEvent
from storage.imaging import QuarantinedInstance
from storage.indexing import Outcome
from storage.jobs import Job
from tests.builders import a_dataset, keep
from tests.reading_portal.conftest import Portal
from worklist import conflicts
from worklist.conflicts import Conflict

HTML = {"accept": "text/html"}
REASON = "设备重启后重复使用了编号"


def disputed(
    portal: Portal,
    *,
    modality: str = "CT",
    by: str = "T01",
    first_by: str = "T01",
    times: int = 1,
    **changes: object,
) -> list[int]:
    """Images of a study whose UIDs arrive again with other content; the numbers of what was kept aside."""
    first = a_dataset(modality=modality)
    for _ in range(times):
        one = a_dataset(modality=modality, study_instance_uid=first.StudyInstanceUID)
        other = a_dataset(modality=modality, study_instance_uid=first.StudyInstanceUID)
        other.SOPInstanceUID = one.SOPInstanceUID
        for keyword, value in changes.items():
            setattr(other, keyword, value)
        keep(portal.database, portal.objects, one, ae_title=f"{first_by}_{modality}", institution=first_by)
        kept = keep(portal.database, portal.objects, other, ae_title=f"{by}_{modality}", institution=by)
        assert kept.outcome is Outcome.QUARANTINED
    with portal.database.reading() as session:
        return list(session.scalars(select(QuarantinedInstance.id).order_by(QuarantinedInstance.id)))


def decision(
    version: int = 0, decision: str = "keep-first", reason: str = REASON, **more: object
) -> dict[str, object]:
    return {"decision": decision, "reason": reason, "version": version} | more


def decided(client: httpx.Client, conflict: int, **words: object) -> httpx.Response:
    return client.post(f"/api/quarantine/{conflict}/decision", json=decision(**words))  # type: ignore[arg-type]


def test_both_contents_are_there_with_what_differs(portal: Portal) -> None:
    (conflict,) = disputed(portal, PatientName="Li^Si=李^四", StudyDescription="复查")

    listed = portal.by("ma").get("/api/quarantine").json()["items"]
    detail = portal.by("zhou").get(f"/api/quarantine/{conflict}").json()
    pictures = [
        portal.by("admin").get(f"/api/quarantine/{conflict}/{one}/rendered") for one in ("first", "second")
    ]

    assert [one["id"] for one in listed] == [conflict]
    found = {one["keyword"]: (one["first"], one["second"]) for one in detail["differences"]}
    assert found["PatientName"] == ("Zhang^San=张^三", "Li^Si=李^四")
    assert found["StudyDescription"][1] == "复查"
    assert (detail["pixels"], detail["possible"]) == ("same", ["keep-first", "keep-both"])
    for one in pictures:
        assert (one.headers["content-type"], one.headers["cache-control"]) == ("image/jpeg", "no-store")
        assert max(Image.open(BytesIO(one.content)).size) > 100
    with portal.database.reading() as session:
        seen = session.scalars(select(AuditEvent.actor).where(AuditEvent.verb == "view")).all()
    assert set(seen) == {"zhou", "admin"}


def test_one_of_two_operators_decides_and_the_other_hears_who(portal: Portal) -> None:
    (conflict,) = disputed(portal)

    won = decided(portal.by("ma"), conflict)
    lost = decided(portal.by("zhou"), conflict, decision="keep-both")
    back = decided(portal.by("zhou"), conflict, decision="reopen", version=1)

    assert won.json()["decided"] == 1
    assert won.json()["conflict"]["decided_by"] == "ma"
    assert (lost.status_code, lost.json()["holder"]) == (409, "ma")
    assert back.json()["conflict"]["decision"] is None


def test_keeping_both_leaves_the_work_in_the_same_transaction(quick_portal: Portal) -> None:
    (conflict,) = disputed(quick_portal)

    answer = decided(quick_portal.by("admin"), conflict, decision="keep-both")

    assert answer.json()["conflict"]["kept_as"]
    assert answer.json()["conflict"]["is_settled"] is False
    with quick_portal.database.reading() as session:
        job = session.scalars(select(Job).where(Job.kind == conflicts.conflicts.JOB)).one()
        session.expunge_all()
    conflicts.handlers(quick_portal.database, quick_portal.objects)[job.kind](job)
    assert quick_portal.by("admin").get(f"/api/quarantine/{conflict}").json()["is_settled"] is True


def test_one_decision_may_be_for_all_that_are_alike(quick_portal: Portal) -> None:
    found = disputed(quick_portal, times=3)
    elsewhere = disputed(quick_portal)[-1]

    alike = quick_portal.by("ma").get(f"/api/quarantine/{found[0]}").json()["alike"]
    answer = decided(quick_portal.by("ma"), found[0], with_alike=True)

    assert (alike, answer.json()["decided"]) == (2, 3)
    waiting = [one["id"] for one in quick_portal.by("ma").get("/api/quarantine").json()["items"]]
    assert waiting == [elsewhere]


def test_he_of_baishui_sees_nothing_of_qingshi(quick_portal: Portal) -> None:
    (conflict,) = disputed(quick_portal)
    he = quick_portal.by("he")

    assert he.get("/api/quarantine").json()["items"] == []
    for path in ("", "/first/rendered", "/second/rendered"):
        assert he.get(f"/api/quarantine/{conflict}{path}").status_code == 404
    assert decided(he, conflict).status_code == 404
    assert he.get(f"/quarantine/{conflict}", headers=HTML).status_code == 404


def test_a_technician_does_not_see_what_a_neighbour_sent_first(quick_portal: Portal) -> None:
    """Baishui's device sent a UID that Qingshi has: Qingshi's patient is none of Baishui's business."""
    (conflict,) = disputed(quick_portal, by="T02")
    he = quick_portal.by("he")

    detail = he.get(f"/api/quarantine/{conflict}").json()
    page = he.get(f"/quarantine/{conflict}", headers=HTML).text

    assert (detail["first"], detail["is_first_hidden"], detail["differences"]) == (None, True, [])
    assert detail["possible"] == []
    assert he.get(f"/api/quarantine/{conflict}/first/rendered").status_code == 404
    assert he.get(f"/api/quarantine/{conflict}/second/rendered").status_code == 200
    assert decided(he, conflict).status_code == 403
    assert "由中心决定" in page and "/first/rendered" not in page
    assert decided(quick_portal.by("zhou"), conflict).status_code == 200


@pytest.mark.parametrize("username", ["chen", "li", "audit"])
def test_who_has_nothing_to_do_with_devices_does_not_come_in(quick_portal: Portal, username: str) -> None:
    (conflict,) = disputed(quick_portal)
    client = quick_portal.by(username)

    answers = [
        client.get(path).status_code
        for path in ("/api/quarantine", f"/api/quarantine/{conflict}", "/quarantine")
    ]

    assert answers == [403, 403, 403]
    assert decided(client, conflict).status_code == 403


@pytest.mark.parametrize(
    "body",
    [decision(reason="  短 "), decision(decision="forget"), decision(version=-1), decision() | {"more": 1}],
)
def test_a_decision_that_makes_no_sense_changes_nothing(
    quick_portal: Portal, body: dict[str, object]
) -> None:
    (conflict,) = disputed(quick_portal)

    answer = quick_portal.by("ma").post(f"/api/quarantine/{conflict}/decision", json=body)

    assert answer.status_code == 422
    assert quick_portal.by("ma").get(f"/api/quarantine/{conflict}").json()["version"] == 0


def test_an_operator_compares_and_decides_on_the_page(quick_portal: Portal) -> None:
    (conflict,) = disputed(quick_portal, PatientID="P009", PatientName="Li^Si=李^四")
    browser, token = quick_portal.browser("zhou")

    connections = browser.get("/admin/connections", headers=HTML).text
    page = browser.get(f"/quarantine/{conflict}", headers=HTML).text
    form = {"csrf_token": token, "decision": "keep-first", "version": "0"}
    without = browser.post(f"/quarantine/{conflict}/decision", data=form | {"reason": ""})
    done = browser.post(
        f"/quarantine/{conflict}/decision", data=form | {"reason": REASON}, follow_redirects=False
    )
    late = browser.post(f"/quarantine/{conflict}/decision", data=form | {"reason": REASON}, headers=HTML)

    assert f'href="/quarantine/{conflict}"' in connections
    assert "患者姓名" in page and "李^四" in page and "两份内容的患者不同" in page
    assert (without.status_code, done.headers["location"]) == (422, f"/quarantine/{conflict}?said=decided")
    # Whoever comes second sees what was decided, and keeps every word.
    assert late.status_code == 409
    assert "此项已由他人作出决定" in late.text and late.text.count(REASON) == 2
    after = browser.get(f"/quarantine/{conflict}", headers=HTML).text
    assert REASON in after and "撤销决定" in after


def test_an_ecg_is_drawn_from_its_bytes_too(quick_portal: Portal) -> None:
    (conflict,) = disputed(quick_portal, modality="ECG", PatientID="P009")

    answer = quick_portal.by("ma").get(f"/api/quarantine/{conflict}/second/rendered")

    assert answer.headers["content-type"].startswith("image/svg+xml")
    assert quick_portal.by("ma").get(f"/api/quarantine/{conflict}").json()["pixels"] == "same"


def test_pixels_are_compared_byte_by_byte(quick_portal: Portal) -> None:
    dataset = a_dataset()
    disputed(quick_portal, PixelData=bytes(len(dataset.PixelData)))

    with quick_portal.database.reading() as session:
        second = session.scalars(select(QuarantinedInstance)).one()
        found = Conflict(second, conflicts.conflicts.first_of(session, second), False)
        compared = compare(quick_portal.objects, found)

    assert compared.pixels is Pixels.OTHER
