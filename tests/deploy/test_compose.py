"""The composition for a real county: valid, complete, and open only where it must be."""

import json
import os
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.programs import needs

ROOT = Path(__file__).resolve().parents[2]
ROLES = {"node", "portal", "worker", "migrate"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return loaded


def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose["services"]
    return found


def test_the_file_is_what_the_compose_specification_says(compose: dict[str, Any]) -> None:
    vendored = files("check_jsonschema").joinpath("builtin_schemas", "vendor", "compose-spec.json")
    schema = json.loads(vendored.read_text(encoding="utf-8"))

    errors = [
        error.message for error in jsonschema.validators.validator_for(schema)(schema).iter_errors(compose)
    ]

    assert errors == []


def test_every_secret_volume_network_and_dependency_that_is_named_is_defined(compose: dict[str, Any]) -> None:
    undefined = []
    for name, service in services(compose).items():
        undefined += [
            f"{name}: secret {s}" for s in service.get("secrets", []) if s not in compose["secrets"]
        ]
        undefined += [
            f"{name}: network {n}" for n in service.get("networks", []) if n not in compose["networks"]
        ]
        undefined += [
            f"{name}: needs {d}" for d in service.get("depends_on", {}) if d not in services(compose)
        ]
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if not source.startswith((".", "/", "$")) and source not in compose["volumes"]:
                undefined.append(f"{name}: volume {source}")

    assert undefined == []


def test_every_secret_that_a_setting_reads_is_handed_to_that_service(compose: dict[str, Any]) -> None:
    missing = [
        f"{name}: {variable}"
        for name, service in services(compose).items()
        for variable, value in service.get("environment", {}).items()
        if str(value).startswith("/run/secrets/") and Path(value).name not in service.get("secrets", [])
    ]

    assert missing == []


def test_secrets_come_from_files_that_the_maker_of_secrets_writes(compose: dict[str, Any]) -> None:
    maker = (ROOT / "deploy" / "make-secrets").read_text(encoding="utf-8")

    unmade = [s["file"] for s in compose["secrets"].values() if f"keep {Path(s['file']).name} " not in maker]

    assert unmade == []
    assert not re.search(
        r"(PASSWORD|SECRET|KEY|TOKEN)\w*: (?!/run/secrets/)\S", (ROOT / "docker-compose.yml").read_text()
    )


def test_nothing_is_published_but_the_proxy(compose: dict[str, Any]) -> None:
    publishing = {name: service["ports"] for name, service in services(compose).items() if "ports" in service}

    assert set(publishing) == {"proxy"}
    assert [port.rsplit(":", 1)[1] for port in publishing["proxy"]] == ["8443", "2762"]


def test_memory_is_out_of_reach_from_outside(compose: dict[str, Any]) -> None:
    assert compose["networks"]["inside"]["internal"] is True
    for name in ("database", "objects", "portal"):
        assert services(compose)[name]["networks"] == ["inside"], name


def test_whoever_sends_to_devices_reaches_them_with_the_centre_s_certificate(compose: dict[str, Any]) -> None:
    for name in ("node", "worker"):
        service = services(compose)[name]
        assert set(service["networks"]) == {"inside", "outside"}, name
        assert service["environment"]["READING_CENTER_DICOM_TLS_CERT"] == "/run/secrets/dicom_certificate"
        assert "dicom_key" in service["secrets"], name


def test_every_service_that_stays_is_watched_and_comes_back(compose: dict[str, Any]) -> None:
    for name, service in services(compose).items():
        if name == "migrate":
            continue
        assert service["restart"] == "unless-stopped", name
        # A worker has no port to ask; its jobs have leases, and the portal shows what is stuck.
        assert name == "worker" or "healthcheck" in service, name


def test_roles_run_without_rights(compose: dict[str, Any]) -> None:
    for name in ROLES:
        service = services(compose)[name]
        assert service["cap_drop"] == ["ALL"], name
        assert service["read_only"] is True, name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_every_role_is_a_command_of_the_product(compose: dict[str, Any]) -> None:
    from center.cli import parser

    for name in ROLES:
        (word,) = services(compose)[name]["command"]
        assert parser().parse_args([word]).command, name


def test_every_setting_in_the_file_is_a_setting_of_the_product(compose: dict[str, Any]) -> None:
    settings = (ROOT / "storage" / "settings.py").read_text(encoding="utf-8")
    said = {
        variable.removeprefix("READING_CENTER_").removesuffix("_FILE")
        for service in services(compose).values()
        for variable in service.get("environment", {})
        if variable.startswith("READING_CENTER_")
    }

    assert [name for name in said if f'"{name}"' not in settings] == []


def test_the_image_builds_the_bundle_in_a_stage_and_runs_unprivileged() -> None:
    instructions = [
        line.split(maxsplit=1)
        for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
        if line.strip() and not line.startswith("#")
    ]
    copied = [
        word
        for keyword, words in instructions
        if keyword == "COPY" and "--from" not in words
        for word in words.split()[:-1]
    ]
    last_stage = instructions[max(i for i, (keyword, _) in enumerate(instructions) if keyword == "FROM") :]

    assert [path for path in copied if not (ROOT / path).exists()] == []
    assert ["USER", "10001"] in last_stage
    assert not any("npm" in words or "node:" in words for _, words in last_stage)


def test_secrets_are_made_once_and_belong_together(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    make = [str(tmp_path / "deploy" / "make-secrets"), "county.example.org"]

    subprocess.run(make, check=True, capture_output=True)
    first = {path.name: path.read_bytes() for path in (tmp_path / "secrets").iterdir()}
    subprocess.run(make, check=True, capture_output=True)

    assert {path.name: path.read_bytes() for path in (tmp_path / "secrets").iterdir()} == first
    assert first["database_password"].decode() in first["database_url"].decode()
    identities = json.loads(first["object_store_identities.json"])
    assert identities["identities"][0]["credentials"][0]["secretKey"] in first["object_store_url"].decode()
    authority = tmp_path / "secrets" / "dicom-authority.pem"
    for certificate in ("dicom.pem", "portal.pem"):
        subprocess.run(
            ["openssl", "verify", "-CAfile", authority, tmp_path / "secrets" / certificate],
            check=True,
            capture_output=True,
        )


@needs("haproxy", of="haproxy")
def test_the_proxy_accepts_its_configuration(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    subprocess.run([tmp_path / "deploy" / "make-secrets", "x"], check=True, capture_output=True)

    checked = subprocess.run(
        [
            "haproxy",
            "-c",
            "-f",
            tmp_path / "deploy" / "haproxy.cfg",
            "-f",
            tmp_path / "deploy" / "backends.cfg",
        ],
        env={
            **os.environ,
            "HTTPS_BIND": "127.0.0.1:8443",
            "DICOM_TLS_BIND": "127.0.0.1:2762",
            "CERTIFICATE": str(tmp_path / "secrets" / "portal.pem"),
        },
        capture_output=True,
        text=True,
    )

    assert checked.returncode == 0, checked.stderr
