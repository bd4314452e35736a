"""The cast: who lives in the small county of the tests.

Dr Chen reads, Dr Wu reviews, Technician Ma sends from Qingshi, Dr Li asks from Qingshi, Director Zhou counts,
and Dr He of Baishui must see nothing of Qingshi. Everybody's password is the username and "-password".
"""

from functools import lru_cache

from sqlalchemy.orm import Session

from center.declaration import apply
from storage.database import Database
from worklist.people import Practitioner, Who, who
from worklist.sessions import hash_password

_PEOPLE = (
    ("chen", "陈雨", "C01", ["reader"], ["CT", "DX", "MR", "US", "ECG"], "attending"),
    ("sun", "孙宁", "C01", ["reader"], ["CT", "DX", "MR", "US", "ECG"], "attending"),
    ("wu", "吴敏", "C01", ["reader", "reviewer"], ["CT", "DX", "MR", "US", "ECG"], "senior"),
    ("ma", "马强", "T01", ["technician"], [], None),
    ("li", "李岚", "T01", ["clinician"], [], None),
    ("he", "何静", "T02", ["clinician", "technician"], [], None),
    ("zhou", "周正", "C01", ["director"], [], None),
    ("admin", "管理员", "C01", ["administrator"], [], None),
    ("audit", "审计员", "C01", ["auditor"], [], None),
    ("his", "信息系统", "T01", ["integration"], [], None),
)

COUNTY = """
[center]
name = "云岭县影像心电诊断中心"
timezone = "Asia/Shanghai"
language = "zh-CN"

[policy]
review = ["MR"]
quiet_seconds = 20

[[institutions]]
code = "C01"
name = "云岭县人民医院"
kind = "county_hospital"

[[institutions]]
code = "T01"
name = "青石镇卫生院"
kind = "township"

[[institutions]]
code = "T02"
name = "白水镇卫生院"
kind = "township"

[[devices]]
ae_title = "T01_CT"
institution = "T01"
modality = "CT"
host = "127.0.0.1"

[[devices]]
ae_title = "T01_ECG"
institution = "T01"
modality = "ECG"
host = "127.0.0.1"

[[devices]]
ae_title = "T02_CT"
institution = "T02"
modality = "CT"
host = "127.0.0.1"

[[agreements]]
asks = "T01"
reads = "C01"
modalities = ["CT", "DX", "MR", "ECG"]
until = 2099-12-31

[[agreements]]
asks = "T02"
reads = "C01"
modalities = ["CT"]
until = 2099-12-31

[[recognition_items]]
item = "CT-CHEST"
name = "胸部CT平扫"
modality = "CT"
body_part = "CHEST"
valid_days = 30

[[quality_certificates]]
institution = "T01"
device = "T01_CT"
item = "CT-CHEST"
scope = "county"
from = 2000-01-01
until = 2099-12-31
"""


@lru_cache
def _hash(password: str) -> str:
    return hash_password(password)  # argon2 is slow on purpose: once for each of the cast


def settle_the_county(database: Database) -> None:
    """Declare the county and its people."""
    people = "".join(
        f"""
[[people]]
username = "{username}"
name = "{name}"
institution = "{institution}"
roles = {roles!r}
reads = {reads!r}
{f'grade = "{grade}"' if grade else ""}
license_number = "110{username}"
license_until = 2099-12-31
password_hash = "{_hash(password_of(username))}"
""".replace("'", '"')
        for username, name, institution, roles, reads, grade in _PEOPLE
    )
    apply(database, COUNTY + people)


def password_of(username: str) -> str:
    return f"{username}-password"


def person(session: Session, username: str) -> Who:
    practitioner = session.get(Practitioner, username)
    assert practitioner is not None
    return who(practitioner)
