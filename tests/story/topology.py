"""docker-compose.yml as processes: PostgreSQL, S3, two of each role, and the proxy as it is configured."""

import hashlib
import os
import shutil
import ssl
import subprocess
from contextlib import ExitStack
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.pairs import Pair
from tests.servers.centre import CentreProcess, is_listening, is_ready
from tests.servers.process import free_port, start, stop

ROOT = Path(__file__).resolve().parents[2]

DECLARED = """
[policy]
quiet_seconds = 3

[[devices]]
ae_title = "T01_CT"
institution = "T01"
modality = "CT"
host = "*"
certificate_sha256 = "{certificate}"
"""


class Topology:
    """Everything of the composition, started in its order; `https` and `dicom_port` are the proxy's."""

    def __init__(self, pair: Pair, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.secrets = folder / "secrets"
        self.https_port, self.dicom_port = free_port(), free_port()
        self.https = f"https://localhost:{self.https_port}"
        self._pair = pair
        self._open = ExitStack()
        self.nodes: list[CentreProcess] = []
        self.portals: list[CentreProcess] = []
        self.workers: list[CentreProcess] = []

    def __enter__(self) -> "Topology":
        try:
            self._make_secrets()
            self.run("migrate")
            self._start_roles()
            self._start_proxy()
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def run(self, *words: str) -> str:
        """One command of the centre, to its end; what it said."""
        command = CentreProcess(*words, data=self.data, environment=self._settings(), log_name="command.log")
        said_before = len(command.said) if command.log.exists() else 0
        status = command.wait(60)
        said = command.said[said_before:]
        assert status == 0, said
        return said

    def declare(self) -> None:
        """T01_CT may associate from anywhere, with its certificate and no other; a study is settled soon."""
        pem = (self.secrets / "device.pem").read_bytes()
        der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
        file = self.folder / "county.toml"
        file.write_text(DECLARED.format(certificate=hashlib.sha256(der).hexdigest()))
        self.run("apply", str(file))

    def trust(self) -> ssl.SSLContext:
        """How a browser or a device of this county trusts the centre, with the device's own certificate."""
        context = ssl.create_default_context(cafile=str(self.secrets / "dicom-authority.pem"))
        context.load_cert_chain(self.secrets / "device.pem", self.secrets / "device.key")
        return context

    def _make_secrets(self) -> None:
        shutil.copytree(ROOT / "deploy", self.folder / "deploy")
        subprocess.run(
            [self.folder / "deploy" / "make-secrets", "localhost"], check=True, capture_output=True
        )
        subprocess.run([self.folder / "deploy" / "make-device", "device"], check=True, capture_output=True)

    def _settings(self, **more: str) -> dict[str, str]:
        """As the composition says them: secrets by file."""
        files = {"database_url": self._pair.database_url, "object_store_url": self._pair.object_store_url}
        for name, content in files.items():
            (self.secrets / name).write_text(content)
        return {
            "READING_CENTER_DATABASE_URL_FILE": str(self.secrets / "database_url"),
            "READING_CENTER_OBJECT_STORE_FILE": str(self.secrets / "object_store_url"),
            "READING_CENTER_SECRET_KEY_FILE": str(self.secrets / "secret_key"),
            "READING_CENTER_PUBLIC_URL": self.https,
            **{f"READING_CENTER_{name}": value for name, value in more.items()},
        }

    def _start_roles(self) -> None:
        for number in (1, 2):
            node = {
                "DICOM_PORT": "0",
                "DICOM_TLS_PORT": str(free_port()),
                "DICOM_TLS_CERT": str(self.secrets / "dicom.pem"),
                "DICOM_TLS_KEY": str(self.secrets / "dicom.key"),
                "DICOM_TLS_CA": str(self.secrets / "dicom-authority.pem"),
            }
            self.nodes.append(self._role("node", number, node))
            self.portals.append(self._role("portal", number, {"HTTP_PORT": str(free_port())}))
            self.workers.append(self._role("worker", number, {}))
        for portal in self.portals:
            url = f"http://127.0.0.1:{portal.environment['READING_CENTER_HTTP_PORT']}"
            portal.wait_until("ready", lambda url=url: is_ready(url), within=120)  # type: ignore[misc]
        for node_process in self.nodes:
            port = int(node_process.environment["READING_CENTER_DICOM_TLS_PORT"])
            node_process.wait_until("listening", lambda port=port: is_listening(port), within=120)  # type: ignore[misc]

    def _role(self, name: str, number: int, settings: dict[str, str]) -> CentreProcess:
        process = CentreProcess(
            name, data=self.data, environment=self._settings(**settings), log_name=f"{name}-{number}.log"
        )
        self._open.callback(process.stop)
        return process

    def _start_proxy(self) -> None:
        backends = self.folder / "backends.cfg"
        portals = [process.environment["READING_CENTER_HTTP_PORT"] for process in self.portals]
        nodes = [process.environment["READING_CENTER_DICOM_TLS_PORT"] for process in self.nodes]
        backends.write_text(_backends(self.folder / "deploy" / "backends.cfg", portals, nodes))
        environment = {
            **os.environ,
            "HTTPS_BIND": f"127.0.0.1:{self.https_port}",
            "DICOM_TLS_BIND": f"127.0.0.1:{self.dicom_port}",
            "CERTIFICATE": str(self.secrets / "portal.pem"),
        }
        command = ["haproxy", "-W", "-db", "-f", self.folder / "deploy" / "haproxy.cfg", "-f", backends]
        proxy = start(command, log=self.folder / "proxy.log", env=environment)
        self._open.callback(stop, proxy)

    @property
    def proxy_said(self) -> str:
        return (self.folder / "proxy.log").read_text(encoding="utf-8", errors="replace")


def _backends(composed: Path, portals: list[str], nodes: list[str]) -> str:
    """The composition's own backends, with addresses in place of names that Docker would resolve."""
    lines = []
    for line in composed.read_text(encoding="utf-8").splitlines():
        words = line.split()
        if words[:1] != ["server-template"]:
            lines.append(line)
            continue
        options = " ".join(words[4:]).split(" resolvers")[0]
        ports = portals if words[1] == "portal" else nodes
        lines += [
            f"    server {words[1]}{n} 127.0.0.1:{port} {options}" for n, port in enumerate(ports, start=1)
        ]
    return "\n".join(lines) + "\n"
