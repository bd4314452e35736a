"""The floor of every storage node: receive the same bytes, write them, flush them, say so. No protocol.

python -m benchmarks.bare_receiver PORT FOLDER          serves
python -m benchmarks.bare_receiver PORT - FILE…         sends, as benchmarks.prebuilt_sender does
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import threading
import time
from pathlib import Path

_length = struct.Struct("<Q")


def serve(port: int, folder: Path) -> None:
    listener = socket.create_server(("127.0.0.1", port), backlog=64)
    number = 0
    while True:
        connection, _ = listener.accept()
        number += 1
        threading.Thread(target=_receive, args=(connection, folder, number), daemon=True).start()


def _receive(connection: socket.socket, folder: Path, number: int) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    buffer, at = memoryview(bytearray(64 << 20)), 0
    while connection.recv_into(buffer[:8], 0, socket.MSG_WAITALL) == 8:
        (length,) = _length.unpack(buffer[:8])
        connection.recv_into(buffer[:length], 0, socket.MSG_WAITALL)
        at += 1
        file = os.open(folder / f"{number}-{at}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640)
        os.write(file, buffer[:length])
        os.fsync(file)
        os.close(file)
        connection.sendall(b"!")


def send(port: int, files: list[Path]) -> None:
    pieces = [_length.pack(path.stat().st_size) + path.read_bytes() for path in files]
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    print("ready", flush=True)
    sys.stdin.readline()
    latencies: list[float] = []
    began = time.monotonic()
    for piece in pieces:
        at = time.perf_counter()
        connection.sendall(piece)
        connection.recv(1)
        latencies.append((time.perf_counter() - at) * 1000)
    print(json.dumps({"began": began, "ended": time.monotonic(), "ms": latencies, "refused": []}))


if __name__ == "__main__":
    if sys.argv[2] == "-":
        send(int(sys.argv[1]), [Path(name) for name in sys.argv[3:]])
    else:
        serve(int(sys.argv[1]), Path(sys.argv[2]))
