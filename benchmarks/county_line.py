"""A county's line to the centre: what both sides say, byte by byte, at the pace and distance of a DSL line.

A TCP relay in a process of its own. Every connection through it shares one line: `bits_per_second` in each
direction, half of `round_trip` each way, and one more round trip before a new connection's first word, as a
TCP handshake costs. Unlike the browser's own emulation it also holds for workers and event streams, and
it is the same for everybody behind it. It does not model slow start or loss.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
from collections import deque
from collections.abc import Iterator
from multiprocessing.connection import Connection

PIECE = 2900  # two Ethernet frames' worth: how finely connections take turns
QUEUE = 0.010  # seconds of line that may be booked ahead, so that a late wake-up leaves no gap


class Direction:
    """One direction of the line: who books it last sends last."""

    def __init__(self, bits_per_second: float, delay: float) -> None:
        self.bytes_per_second = bits_per_second / 8
        self.delay = delay
        self.free_at = 0.0

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, late: float) -> None:
        """Bring everything across; nothing arrives before `late` seconds from now."""
        loop = asyncio.get_running_loop()
        earliest = loop.time() + late
        under_way: deque[bytes] = deque()

        def arrive() -> None:
            # Timers of one moment may fire in any order; what they bring may not.
            if not writer.is_closing():
                writer.write(under_way.popleft())

        arrives_at = earliest
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while piece := await reader.read(PIECE):
                self.free_at = max(loop.time(), self.free_at) + len(piece) / self.bytes_per_second
                arrives_at = max(self.free_at, earliest) + self.delay
                under_way.append(piece)
                loop.call_at(arrives_at, arrive)
                await asyncio.sleep(max(0.0, self.free_at - loop.time() - QUEUE))
        loop.call_at(arrives_at + 0.001, writer.close)


async def _relay(target: int, bits_per_second: float, round_trip: float, told: Connection) -> None:
    down = Direction(bits_per_second, round_trip / 2)
    up = Direction(bits_per_second, round_trip / 2)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(up.carry(reader, far_writer, round_trip), down.carry(far_reader, writer, 0.0))

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=PIECE)
    told.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def _run(target: int, bits_per_second: float, round_trip: float, told: Connection) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_relay(target, bits_per_second, round_trip, told))


@contextlib.contextmanager
def county_line(target: int, *, bits_per_second: float = 8e6, round_trip: float = 0.040) -> Iterator[int]:
    """The port of 127.0.0.1 behind which `target` is as far away as a township is."""
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_run, args=(target, bits_per_second, round_trip, there), daemon=True)
    process.start()
    try:
        if not here.poll(30):
            raise RuntimeError("the line did not come up")
        yield int(here.recv())
    finally:
        process.terminate()
        process.join(10)
