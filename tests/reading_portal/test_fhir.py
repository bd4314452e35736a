"""FHIR R4 for hospital systems: what they read is what was signed, and only what is theirs."""

import httpx
import pytest

from reading_portal.fhir_search import SEARCH
from tests.cast import password_of
from tests.reading_portal.conftest import FINDINGS, Portal


def _entries(answer: httpx.Response) -> list[dict[str, object]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/fhir+json")
    said = answer.json()
    assert said["resourceType"] == "Bundle" and said["type"] == "searchset"
    return [one["resource"] for one in said.get("entry", [])]


def test_the_metadata_names_every_resource_and_is_public(quick_portal: Portal) -> None:
    answer = quick_portal.stranger().get("/fhir/metadata")

    said = answer.json()
    assert (said["resourceType"], said["fhirVersion"]) == ("CapabilityStatement", "4.0.1")
    assert [one["type"] for one in said["rest"][0]["resource"]] == list(SEARCH)


def test_a_hospital_system_follows_an_order_to_its_final_report(portal: Portal) -> None:
    exam = portal.an_exam()
    report = portal.signed(exam)["report_id"]
    his = portal.by("his")

    (request,) = _entries(his.get("/fhir/ServiceRequest", params={"identifier": exam.accession_number}))
    (found,) = _entries(his.get("/fhir/DiagnosticReport", params={"identifier": exam.accession_number}))
    (by_order,) = _entries(
        his.get("/fhir/DiagnosticReport", params={"based-on": f"ServiceRequest/{exam.order_id}"})
    )
    (study,) = _entries(
        his.get("/fhir/ImagingStudy", params={"identifier": f"urn:oid:{exam.study_instance_uid}"})
    )
    (task,) = _entries(his.get("/fhir/Task", params={"focus": f"ImagingStudy/{exam.study_instance_uid}"}))
    patient = his.get(f"/fhir/{found['subject']['reference']}").json()

    assert (request["id"], request["status"]) == (str(exam.order_id), "completed")
    assert found == by_order
    assert (found["id"], found["status"]) == (str(report), "final")
    assert [one["display"] for one in found["resultsInterpreter"]] == ["陈雨"]
    assert study["id"] == exam.study_instance_uid and study["numberOfInstances"] == 2
    assert (task["status"], task["businessStatus"]["text"]) == ("completed", "completed")
    assert [one["text"] for one in patient["name"]] == ["Zhang San", "张三"]
    assert (patient["gender"], patient["birthDate"]) == ("male", "1958-03-14")
    form = found["presentedForm"][0]
    pdf = his.get(form["url"].removeprefix("http://portal.example"))
    assert len(pdf.content) == form["size"]


def test_a_report_is_its_observations_and_its_signers_are_its_provenance(quick_portal: Portal) -> None:
    exam = quick_portal.an_exam(modality="MR", body_part="BRAIN", images=1)
    report = quick_portal.signed(exam)["report_id"]
    fence = quick_portal.claimed(exam, by="wu")
    quick_portal.by("wu").post(
        f"{quick_portal.task(exam)}/review",
        json={"fence": fence, "decision": "approve", "note": "", "password": password_of("wu")},
    )
    his = quick_portal.by("his")

    said = his.get(f"/fhir/DiagnosticReport/{report}").json()
    findings = his.get(f"/fhir/Observation/{report}-findings")
    newer, older = _entries(his.get("/fhir/Provenance", params={"target": f"DiagnosticReport/{report}"}))

    assert [one["reference"] for one in said["result"]] == [
        f"Observation/{report}-findings",
        f"Observation/{report}-impression",
    ]
    assert findings.json()["valueString"] == FINDINGS and findings.headers["etag"] == 'W/"2"'
    people = [[agent["who"]["identifier"]["value"] for agent in one["agent"]] for one in (older, newer)]
    assert people == [["chen"], ["chen", "wu"]]
    assert newer["entity"][0]["what"]["reference"] == f"DiagnosticReport/{report}/_history/1"


def test_an_unsigned_report_is_not_there(quick_portal: Portal) -> None:
    exam = quick_portal.an_exam()
    quick_portal.written(exam)

    assert _entries(quick_portal.by("his").get("/fhir/DiagnosticReport")) == []
    assert quick_portal.by("chen").get("/fhir/DiagnosticReport/1").status_code == 404
    assert _entries(quick_portal.by("his").get("/fhir/Observation")) == []


def test_baishui_finds_nothing_of_qingshi_by_fhir(portal: Portal) -> None:
    exam = portal.an_exam()
    report = portal.signed(exam)["report_id"]
    he = portal.by("he")

    kinds = [kind for kind in SEARCH if kind != "AuditEvent"]
    found = {kind: _entries(he.get(f"/fhir/{kind}")) for kind in kinds}
    read = {
        path: he.get(f"/fhir/{path}").status_code
        for path in (
            "Patient/1", f"ServiceRequest/{exam.order_id}", f"ImagingStudy/{exam.study_instance_uid}",
            f"Task/{exam.task_id}", f"DiagnosticReport/{report}", f"Observation/{report}-findings",
            "Provenance/1",
        )
    }  # fmt: skip

    assert found == {kind: [] for kind in kinds}
    assert read == dict.fromkeys(read, 404)
    assert he.get("/fhir/AuditEvent").status_code == 403


def test_an_auditor_reads_the_traces_of_one_task(quick_portal: Portal) -> None:
    exam = quick_portal.an_exam()
    quick_portal.signed(exam)

    events = _entries(
        quick_portal.by("audit").get("/fhir/AuditEvent", params={"entity-name": f"task:{exam.task_id}"})
    )

    steps = [(one["subtype"][0]["code"], one["agent"][0]["who"]["identifier"]["value"]) for one in events]
    assert steps == [("complete", "chen"), ("claim", "chen"), ("open", "center")]


def test_pages_of_a_search_follow_each_other(quick_portal: Portal) -> None:
    for _ in range(3):
        quick_portal.an_exam(images=1)
    his = quick_portal.by("his")

    first = his.get("/fhir/ImagingStudy", params={"_count": 2, "modality": "CT"}).json()
    (following,) = [one["url"] for one in first["link"] if one["relation"] == "next"]
    second = his.get(following.removeprefix("http://portal.example")).json()

    seen = [one["resource"]["id"] for page in (first, second) for one in page["entry"]]
    assert len(seen) == len(set(seen)) == 3
    assert "modality=CT" in following
    assert [one["relation"] for one in second["link"]] == ["self"]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("Patient/99", 404, "not-found"),
        ("Nonsense", 404, "not-found"),
        ("Patient?birthdate=yesterday", 422, "invalid"),
        ("Patient?_count=many", 422, "invalid"),
        ("Patient/a%00b", 422, "invalid"),
    ],
)
def test_errors_are_operation_outcomes(quick_portal: Portal, path: str, status: int, code: str) -> None:
    answer = quick_portal.by("his").get(f"/fhir/{path}")

    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/fhir+json"
    assert answer.json()["issue"][0]["code"] == code


def test_a_strict_client_hears_of_parameters_that_are_not_supported(quick_portal: Portal) -> None:
    his = quick_portal.by("his")

    lenient = his.get("/fhir/Patient", params={"shoe-size": "43"})
    strict = his.get("/fhir/Patient", params={"shoe-size": "43"}, headers={"prefer": "handling=strict"})

    assert (lenient.status_code, strict.status_code) == (200, 422)


@pytest.mark.parametrize("kind", list(SEARCH))
def test_no_value_of_a_parameter_breaks_the_search(portal: Portal, kind: str) -> None:
    asker = portal.by("audit" if kind == "AuditEvent" else "his")
    values = (
        "1",
        "%",
        "'; DROP TABLE patients; --",
        "\x00",
        "2026-11-22",
        "urn:oid:1.2.3",
        "a|b",
        "张",
        "|",
        ",",
    )

    codes = {
        (name, value): asker.get(f"/fhir/{kind}", params={name: value}).status_code
        for name in SEARCH[kind]
        for value in values
    }

    assert {pair: code for pair, code in codes.items() if code not in (200, 422)} == {}
