"""An exam of 王建国, a smoker of 67, for the pictures of these tests."""

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

from center.demo.phantoms.exam import Exam

WANG = Exam(
    study_instance_uid="2.25.329800735698586629295641978511506172918",
    patient_id="100231",
    patient_name="Wang^Jianguo=王^建国",
    sex="M",
    birth_date="19590312",
    issuer="T01",
    institution_name="青石镇卫生院",
    station_ae="T01_CT",
    acquired_at=datetime(2026, 11, 20, 9, 30, tzinfo=ZoneInfo("Asia/Shanghai")),
    accession_number="261120000001",
    description="胸部CT平扫",
    referring_physician="=李岚",
    operator="=马强",
    requested_procedure_id="261120000001",
    scheduled_step_id="261120000001",
    performed_step_uid="2.25.1234",
    character_set="GB18030",
    seed=100,
)


def exam(**changes: object) -> Exam:
    return replace(WANG, **changes)  # type: ignore[arg-type]
