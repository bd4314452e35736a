"""A study is corrected on its page or by a program; what the web door gives then says the right thing."""

from __future__ import annotations

import io
import re

import httpx
from pydicom import dcmread
from sqlalchemy import select

from storage.corrections import Correction
from storage.uids import new_uid
from tests.builders import a_dataset, an_order, keep, settle_exam
from tests.reading_portal.conftest import Portal
from tests.worklist.test_corrections import LI
from tests.worklist.test_rereading import sent as sent_with

HTML = {"accept": "text/html"}
REASON = "技师选错了检查申请"


def corrections(client: httpx.Client, uid: str, **body: object) -> httpx.Response:
    version = client.get(f"/api/studies/{uid}/corrections").json().get("version", 0)
    return client.post(f"/api/studies/{uid}/corrections", json={"reason": REASON, "version": version} | body)


def test_dicomweb_gives_what_is_right_and_after_undoing_what_was_sent(portal: Portal) -> None:
    exam = portal.an_exam(images=2)
    right = an_order(portal.database, patient=LI)
    reader, technician = portal.by("chen"), portal.by("ma")
    root = f"/dicom-web/studies/{exam.study_instance_uid}"
    one = f"{root}/series/{series_of(reader, root)}/instances/{exam.sop_instance_uids[0]}"
    alone = {"accept": "application/dicom"}
    sent = reader.get(one, headers=alone)
    frame = reader.get(f"{one}/frames/1").headers["etag"]
    headers = reader.get(f"{root}/metadata").json()

    made = corrections(technician, exam.study_instance_uid, order=right.id)

    assert made.status_code == 201, made.text
    again = reader.get(one, headers=alone | {"if-none-match": sent.headers["etag"]})
    assert again.status_code == 200
    image = dcmread(io.BytesIO(again.content))
    assert (str(image.PatientName), image.PatientID, image.PatientSex) == ("Li^Si=李四", "P002", "F")
    assert image.AccessionNumber == right.accession_number
    before = image.OriginalAttributesSequence[0].ModifiedAttributesSequence[0]
    assert (str(before.PatientName), before.PatientID) == ("Zhang^San=张三", "P001")
    assert image.PixelData == dcmread(io.BytesIO(sent.content)).PixelData
    assert int(again.headers["content-length"]) == len(again.content)
    for header in reader.get(f"{root}/metadata").json():
        assert header["00100020"]["Value"] == ["P002"]
        assert header["04000561"]["Value"][0]["04000565"]["Value"] == ["CORRECT"]
    (row,) = reader.get("/dicom-web/studies", params={"PatientID": "P002", "includefield": "00101010"}).json()
    assert row["00100010"]["Value"] == [{"Alphabetic": "Li^Si", "Ideographic": "李四"}]
    assert "00101010" not in row  # the wrong patient's age
    assert reader.get("/dicom-web/studies", params={"PatientID": "P001"}).json() == []
    manifest = reader.get(f"/api/viewer/studies/{exam.study_instance_uid}/manifest").json()
    assert (manifest["patient"]["name"], manifest["patient"]["age"]) == ("李四", "")
    whole = reader.get(root, headers={"accept": 'multipart/related; type="application/dicom"'}).content
    assert whole.count(b"DICM") == 2 and whole.count("张三".encode()) == 2  # as what was sent, in each once
    assert reader.get(f"{one}/frames/1").headers["etag"] == frame
    undone = technician.post(
        f"/api/studies/{exam.study_instance_uid}/corrections/{made.json()['id']}/undo",
        json={"reason": "其实没有选错", "version": 1},
    )
    assert undone.status_code == 200, undone.text
    assert reader.get(one, headers=alone).content == sent.content
    assert reader.get(f"{root}/metadata").json() == headers


def series_of(client: httpx.Client, root: str) -> str:
    return str(client.get(f"{root}/series").json()[0]["0020000E"]["Value"][0])


def test_who_comes_second_is_told_and_who_has_no_right_sees_nothing(quick_portal: Portal) -> None:
    portal = quick_portal
    exam = portal.an_exam(images=1)
    address = f"/api/studies/{exam.study_instance_uid}/corrections"
    body = {"reason": REASON, "version": 0, "study_description": "头部CT"}

    answers = [portal.by("ma").post(address, json=body).status_code for _ in range(2)]

    assert answers == [201, 409]
    assert portal.by("chen").post(address, json=body).status_code == 403
    assert portal.by("he").post(address, json=body).status_code == 404
    assert portal.by("he").get(address).status_code == 404
    assert portal.by("ma").post(address, json=body | {"version": 1, "sex": "?"}).status_code == 422


def test_a_technician_corrects_on_the_page_and_takes_it_back(quick_portal: Portal) -> None:
    portal = quick_portal
    sent = a_dataset(patient_id="P0O1", patient_name="ZHNAG^SAN=张^三")
    keep(portal.database, portal.objects, sent)
    settle_exam(portal.database, sent.StudyInstanceUID)
    client, _ = portal.browser("ma")
    address = f"/studies/{sent.StudyInstanceUID}/correction"
    page = client.get(address, headers=HTML)
    assert page.status_code == 200 and "ZHNAG SAN" in page.text
    form = filled(page.text) | {"patient_id": "P001", "name_phonetic": "Zhang San", "reason": REASON}

    done = client.post(address, data=form, headers=HTML, follow_redirects=True)

    assert done.status_code == 200 and "P001" in done.text
    with portal.database.reading() as session:
        made = session.scalars(select(Correction)).one()
        assert made.reason == REASON
    late = client.post(address, data=form, headers=HTML)
    assert late.status_code == 409 and REASON in late.text
    undo = {"csrf_token": form["csrf_token"], "version": "1", "reason": "其实没有打错"}
    back = client.post(
        f"/studies/{sent.StudyInstanceUID}/corrections/{made.id}/undo",
        data=undo,
        headers=HTML,
        follow_redirects=True,
    )
    assert back.status_code == 200 and "P0O1" in back.text


def filled(page: str) -> dict[str, str]:
    """The correction's form as a browser would send it, unchanged."""
    form = page[page.index('id="correct"') :]
    found = dict(re.findall(r'<input(?: type="(?:hidden|date)")? name="([a-z_]+)" value="([^"]*)"', form))
    found |= dict(re.findall(r'name="(sex|laterality)" value="(\w*)" class="unseen" checked', form))
    return found


def test_a_program_reads_text_anew_and_takes_it_back(quick_portal: Portal) -> None:
    portal, uid = quick_portal, new_uid()
    sent_with(portal.database, portal.objects, uid)
    settle_exam(portal.database, uid)
    technician = portal.by("ma")
    address = f"/api/studies/{uid}/text"
    named = ("/dicom-web/studies", {"StudyInstanceUID": uid})

    def name() -> str:
        (row,) = portal.by("zhou").get(named[0], params=named[1]).json()
        return str(row["00100010"]["Value"][0]["Alphabetic"])

    seen = technician.get(address).json()
    before = name()
    body = {"charset": "GB18030", "version": 0}
    others = [
        portal.by("chen").post(address, json=body).status_code,
        portal.by("he").post(address, json=body).status_code,
        technician.post(address, json=body | {"charset": "ISO_IR 149"}).status_code,
        technician.post(address, json=body | {"charset": 5}).status_code,
    ]
    made = technician.post(address, json=body)
    again = technician.post(address, json=body)

    assert (seen["used"], seen["now"]["texts"]["patient_name"]) == ("ISO_IR 100", before)
    assert {one["charset"]: one["texts"]["patient_name"] for one in seen["others"]}["GB18030"] == "嬲嫑"
    assert others == [403, 404, 422, 422]
    assert (made.status_code, again.status_code) == (201, 409)
    assert name() == "嬲嫑"
    assert technician.get(address).json()["chosen"] == "GB18030"
    undone = technician.post(
        f"/api/studies/{uid}/corrections/{made.json()['id']}/undo", json={"reason": REASON, "version": 1}
    )
    assert undone.status_code == 200
    assert name() == before
    assert technician.get(address).json() == seen
