"""`python -m center.demo`: the devices of the demo county, until 3 GB or a day have passed."""

from __future__ import annotations

import argparse
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import structlog

from center import logs
from center.demo import county, processes
from center.demo.portal_client import PortalClient
from center.demo.traffic import GIGABYTE, Center, Limits, Traffic
from storage.settings import BadSetting, from_environment

logger = structlog.get_logger("demo")
PATIENCE = 300.0  # seconds for portal and node to become ready


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m center.demo", description=__doc__)
    parser.add_argument("--data", help="the centre's data folder")
    parser.add_argument("--portal", help="address of the portal")
    parser.add_argument("--dicom-host")
    parser.add_argument("--dicom-port", type=int)
    parser.add_argument("--aet", help="AE title of the centre")
    parser.add_argument("--interval", type=float, default=90.0, help="seconds between studies (90)")
    parser.add_argument("--limit-gb", type=float, default=3.0, help="stop after so many gigabytes (3)")
    parser.add_argument("--hours", type=float, default=24.0, help="stop after so many hours (24)")
    return parser.parse_args()


def _wait_until_ready(portal: PortalClient, center: Center, stop: threading.Event) -> bool:
    """False when they did not come up in time, or when we are to stop."""
    deadline = time.monotonic() + PATIENCE
    said = False
    while not stop.is_set() and time.monotonic() < deadline:
        if portal.is_ready() and _takes_connections(center):
            return True
        if not said:
            logger.info("waiting-for-the-centre")
            said = True
        stop.wait(1)
    return False


def _takes_connections(center: Center) -> bool:
    try:
        socket.create_connection((center.dicom_host, center.dicom_port), timeout=2).close()
    except OSError:
        return False
    return True


def _receivers(data: Path) -> list[subprocess.Popen[bytes]]:
    """One process for each device that an institution's reports go home to."""
    names = {entry["reports_to"] for entry in county.declaration()["institutions"] if "reports_to" in entry}
    return [
        processes.start("center.demo.report_receiver", name, str(data / "demo" / "reports" / name))
        for name in sorted(names)
    ]


def main() -> int:
    arguments = _arguments()
    processes.die_with_parent()
    try:
        settings = from_environment(data=arguments.data)
    except BadSetting as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    logs.configure("demo", level=settings.log_level)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    host = arguments.dicom_host or settings.dicom_host
    center = Center(
        "127.0.0.1" if host in ("0.0.0.0", "::") else host,  # noqa: S104 - compared, not bound
        arguments.dicom_port if arguments.dicom_port is not None else settings.dicom_port,
        arguments.aet or settings.ae_title,
    )
    http_host = "127.0.0.1" if settings.http_host in ("0.0.0.0", "::") else settings.http_host  # noqa: S104
    portal = PortalClient(arguments.portal or f"http://{http_host}:{settings.http_port}")
    if not center.dicom_port:
        print("demo: the DICOM port is turned off; the devices have nowhere to send", file=sys.stderr)
        return 1
    limits = Limits(arguments.interval, int(arguments.limit_gb * GIGABYTE), arguments.hours)
    receivers = _receivers(settings.data)
    traffic: Traffic | None = None
    try:
        if not _wait_until_ready(portal, center, stop):
            return 0 if stop.is_set() else 1
        traffic = Traffic(settings.data, portal, center, limits)
        traffic.draw_ahead()
        while not stop.wait(0.25):
            traffic.step()
            if traffic.has_ended:
                stop.wait()  # the receivers stay: reports still come home
    finally:
        if traffic is not None:
            traffic.stop()
        for receiver in receivers:
            processes.stop(receiver)
    return 0


if __name__ == "__main__":
    sys.exit(main())
