"""Whoever stands at the gate goes on only when it is opened."""

import sys
import threading
import time

from dicom_node.gate import Gate


def test_nobody_of_whom_the_gate_says_that_he_stands_goes_on_before_it_opens():
    gate, passed, is_over = Gate(), [0], threading.Event()

    def walk():
        while not is_over.is_set():
            gate.wait()
            passed[0] += 1

    walker = threading.Thread(target=walk, daemon=True)
    went_on, interval = 0, sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        walker.start()
        for _ in range(3000):
            gate.clear()
            while not gate.has_somebody:
                time.sleep(0)
            before = passed[0]
            time.sleep(0)
            went_on += passed[0] - before
            gate.set()
    finally:
        sys.setswitchinterval(interval)
        is_over.set()
        gate.set()
        walker.join(10)

    assert went_on == 0
    assert not walker.is_alive()
