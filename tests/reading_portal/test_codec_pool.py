"""A codec may hang or die: that costs one picture, and the next one is drawn."""

import os
import signal
import subprocess
import sys
import time

import imagecodecs
import numpy as np
import pytest

from reading_portal import codec_pool
from reading_portal.codec_pool import decode_apart
from reading_portal.codec_process import LENGTHS
from reading_portal.image_format import CannotRender, ImageFormat
from tests.reading_portal.dicomweb_objects import a_gradient

JPEG_2000, JPEG_LS = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.80"


def described(rows: int, columns: int) -> ImageFormat:
    return ImageFormat(rows, columns, 1, 16, 12, 11, False, "MONOCHROME2", 0)


def test_a_frame_is_decoded_in_another_process() -> None:
    frame = bytes(imagecodecs.jpegls_encode(a_gradient()))
    assert (decode_apart(frame, JPEG_LS, described(64, 48)) == a_gradient()).all()


def test_a_codec_that_does_not_come_back_is_given_up_and_replaced() -> None:
    slow = np.random.default_rng(0).integers(0, 4096, (3000, 3000)).astype(np.uint16)
    frame = bytes(imagecodecs.jpeg2k_encode(slow, codecformat="j2k", level=0))
    quick = bytes(imagecodecs.jpegls_encode(a_gradient()))
    decode_apart(quick, JPEG_LS, described(64, 48))

    began = time.monotonic()
    with pytest.raises(CannotRender, match="broke their decoder"):
        decode_apart(frame, JPEG_2000, described(3000, 3000), seconds=0.05)

    assert time.monotonic() - began < 5
    assert (decode_apart(quick, JPEG_LS, described(64, 48)) == a_gradient()).all()


def test_a_codec_process_that_died_is_replaced() -> None:
    frame = bytes(imagecodecs.jpegls_encode(a_gradient()))
    decode_apart(frame, JPEG_LS, described(64, 48))
    process = codec_pool._pool().queue[-1]
    assert process is not None

    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    assert (decode_apart(frame, JPEG_LS, described(64, 48)) == a_gradient()).all()


def test_garbage_costs_a_sentence() -> None:
    with pytest.raises(CannotRender, match="cannot be decoded"):
        decode_apart(b"\xff\xd8" + bytes(500), JPEG_LS, described(64, 48))


def test_a_codec_process_knows_nothing_of_the_portal_and_ends_with_its_input(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("READING_CENTER_SECRET_KEY", "x" * 40)
    process = codec_pool._start()
    with open(f"/proc/{process.pid}/environ", "rb") as told:
        environment = told.read()
    assert process.stdin is not None
    process.stdin.write(LENGTHS.pack(0, 0)[:3])
    process.stdin.close()

    assert process.wait(10) == 0
    assert process.stdout is not None
    process.stdout.close()
    assert b"READING_CENTER" not in environment


def test_codec_processes_end_with_the_portal_that_started_them() -> None:
    program = (
        "from reading_portal import codec_pool; p = codec_pool._start(); print(p.pid, flush=True);"
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    pid = int(done.stdout)

    until = time.monotonic() + 10
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < until:
        time.sleep(0.05)
    assert not os.path.exists(f"/proc/{pid}")
