"""Text as devices send it, through every door: C-STORE, C-FIND in the asker's own set, QIDO-RS, the page."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydicom import dcmread

from dicom_node.node import Node, build_node
from reading_portal.app import build_app
from tests.cast import password_of, settle_the_county
from tests.corpora import corpus
from tests.dicom_node.conftest import settings_for
from tests.dicom_node.devices import CT, a_ct, associated, encoded, send
from tests.dicom_node.test_query_retrieve import EXPLICIT, STUDY_FIND, query
from tests.pairs import Pair
from worklist.authority import CentreAuthority

G58, G149 = "\x1b$)A", "\x1b$)C"
WANG = "Wang^XiaoDong=王^小东"
XU = "Xu^Zheng=许^\U00020bb7"  # four bytes in GB18030, and in no other Chinese set
ESCAPED = f"Wang^XiaoDong={G58}王^{G58}小东".encode("gbk")
ASKED_IN = ("ISO_IR 192", "GB18030", "GBK", "ISO 2022 IR 58", "")


County = tuple[Node, TestClient, TestClient]  # the node; Dr Chen's programs, and Technician Ma at the page


@pytest.fixture
def county(sqlite_pair: Pair, tmp_path: Path) -> Iterator[County]:
    yield from _opened(sqlite_pair, tmp_path)


@pytest.fixture
def county_on_each(pair: Pair, tmp_path: Path) -> Iterator[County]:
    yield from _opened(pair, tmp_path)


def _opened(pair: Pair, tmp_path: Path) -> Iterator[County]:
    settle_the_county(pair.database)
    settings = settings_for(pair, tmp_path)
    node = build_node(settings, pair.database, pair.objects)
    node.start()
    authority = CentreAuthority(tmp_path / "authority", centre_name="云岭县影像心电诊断中心")
    app = build_app(settings, pair.database, pair.objects, authority)
    try:
        with TestClient(app) as programs, TestClient(app) as browser:
            for client, username in ((programs, "chen"), (browser, "ma")):
                words = {"username": username, "password": password_of(username)}
                token = client.post("/api/sessions", json=words).json()["token"]
                client.headers["authorization"] = f"Bearer {token}"
            yield node, programs, browser
    finally:
        node.stop()


def gb(text: str, codec: str = "gbk") -> bytes:
    return text.encode(codec)


# What the device declares, the bytes of the name, and the name as it was meant.
SENT = [
    pytest.param("GB18030", gb(WANG, "gb18030"), WANG, id="GB18030"),
    pytest.param("GB18030", gb(XU, "gb18030"), XU, id="four-bytes"),
    pytest.param("GBK", gb(WANG), WANG, id="GBK"),
    pytest.param("GB2312", gb(WANG, "gb2312"), WANG, id="GB2312"),
    pytest.param("ISO_IR 192", WANG.encode(), WANG, id="UTF-8"),
    pytest.param(
        ["", "ISO 2022 IR 58"],
        ESCAPED,
        WANG,
        id="ISO-2022-IR-58",
    ),
    pytest.param(
        ["ISO 2022 IR 6", "ISO 2022 IR 149"],
        f"Hong^Gildong={G149}洪^{G149}吉洞".encode("euc_kr"),
        "Hong^Gildong=洪^吉洞",
        id="ISO-2022-IR-149",
    ),
    pytest.param(
        ["", "ISO 2022 IR 87"],
        b"Yamada^Tarou=" + "山田".encode("iso2022_jp") + b"^" + "太郎".encode("iso2022_jp"),
        "Yamada^Tarou=山田^太郎",
        id="ISO-2022-IR-87",
    ),
    pytest.param(None, gb(WANG), WANG, id="GBK-undeclared"),
    pytest.param("ISO_IR 100", gb(WANG), WANG, id="GBK-declared-Latin-1"),
    pytest.param(None, WANG.encode(), WANG, id="UTF-8-undeclared"),
    pytest.param("ISO_IR 100", WANG.encode(), WANG, id="UTF-8-declared-Latin-1"),
]


@pytest.mark.parametrize(("declared", "name", "meant"), SENT)
def test_a_name_is_what_was_meant_through_every_door(
    county: County, declared: str | list[str] | None, name: bytes, meant: str
) -> None:
    passes_every_door(county, declared, name, meant)


def test_every_memory_holds_four_bytes_and_escape_sequences(county_on_each: County) -> None:
    passes_every_door(county_on_each, "GB18030", gb(XU, "gb18030"), XU)
    passes_every_door(county_on_each, ["", "ISO 2022 IR 58"], ESCAPED, WANG, patient_id="P002")


def passes_every_door(
    county: County,
    declared: str | list[str] | None,
    name: bytes,
    meant: str,
    *,
    patient_id: str = "P001",
) -> None:
    node, programs, browser = county
    name += b" " * (len(name) % 2)
    sent = a_ct(SpecificCharacterSet=declared, PatientID=patient_id, StudyDescription="CHEST")
    sent.PatientName = "x" * len(name)
    raw = encoded(sent).replace(b"x" * len(name), name)

    with associated(node, (CT, [EXPLICIT])) as association:
        assert send(association, raw, sop_instance_uid=sent.SOPInstanceUID)[0] == 0

    uid = sent.StudyInstanceUID
    answered = {one: asked_in(node, uid, one) for one in ASKED_IN}
    held = {one: text for one, text in answered.items() if one in ("ISO_IR 192", "GB18030", "")}
    assert set(held.values()) == {meant}
    if meant == WANG:
        assert set(answered.values()) == {meant}
    (row,) = programs.get("/dicom-web/studies", params={"StudyInstanceUID": uid}).json()
    groups = row["00100010"]["Value"][0]
    assert "=".join(groups[one] for one in ("Alphabetic", "Ideographic")) == meant
    (header,) = programs.get(f"/dicom-web/studies/{uid}/metadata").json()
    assert header["00100010"]["Value"] == [groups]
    page = browser.get(f"/studies/{uid}", headers={"accept": "text/html"}).text
    assert meant.split("=")[1].replace("^", "") in page and "\x1b" not in page


def asked_in(node: Node, uid: str, charset: str) -> str:
    """The name as a device reads it that asks in this character set, by the answer's own declaration."""
    asked = query("STUDY", StudyInstanceUID=uid, PatientName="")
    asked.SpecificCharacterSet = charset
    with associated(node, (STUDY_FIND, ["1.2.840.10008.1.2"])) as association:
        answers = [one for _, one in association.send_c_find(asked, STUDY_FIND) if one is not None]
    (answer,) = answers
    declared = answer.get("SpecificCharacterSet", "")
    # pydicom leaves the escape sequences of ISO 2022 IR 58 in what it reads.
    name = str(answer.PatientName).replace(G58, "")
    assert declared or name.isascii()
    return name


@pytest.mark.parametrize(
    ("file", "meant"),
    [
        ("pydicom__chrX1.dcm", "Wang^XiaoDong=王^小東"),
        ("pydicom__chrX2.dcm", "Wang^XiaoDong=王^小东"),
        ("pydicom__chrI2.dcm", "Hong^Gildong=洪^吉洞=홍^길동"),
        ("pydicom__chrH31.dcm", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("pydicom__chrKoreanMulti.dcm", "김희중"),
        ("pydicom__chrFren.dcm", "Buc^Jérôme"),
        ("pydicom__chrGerm.dcm", "Äneas^Rüdiger"),
        ("pydicom__chrRuss.dcm", "Люкceмбypг"),
    ],
)
def test_the_names_of_the_standards_own_examples_arrive(county: County, file: str, meant: str) -> None:
    node, programs, _ = county
    example = dcmread(corpus("charset", file))
    whole = corpus("charset", file).read_bytes()
    name = bytes(example.get_item("PatientName").value)
    assert name in whole
    sent = a_ct(SpecificCharacterSet=None, PatientName="x" * len(name), StudyDescription="CHEST")
    sent.SpecificCharacterSet = example.SpecificCharacterSet
    raw = encoded(sent).replace(b"x" * len(name), name)

    with associated(node, (CT, [EXPLICIT])) as association:
        assert send(association, raw, sop_instance_uid=sent.SOPInstanceUID)[0] == 0

    uid = sent.StudyInstanceUID
    (row,) = programs.get("/dicom-web/studies", params={"StudyInstanceUID": uid}).json()
    assert "=".join(row["00100010"]["Value"][0].values()) == meant
    assert asked_in(node, uid, "ISO_IR 192") == meant
