"""Where pynetdicom's own thread of an association is held up, while another one speaks with the peer."""

import threading


class Gate:
    """In place of an association's `_reactor_checkpoint`.

    pynetdicom's `_is_paused` is true also of a thread that has just been let through and is about to look for
    messages: it would take the answer that the other one waits for. `has_somebody` is true only of
    a thread that cannot go on before `set`.
    """

    def __init__(self) -> None:
        self._turn = threading.Condition()
        self._is_open = True
        self.has_somebody = False

    def is_set(self) -> bool:
        return self._is_open

    def set(self) -> None:
        with self._turn:
            self._is_open = True
            self._turn.notify_all()

    def clear(self) -> None:
        with self._turn:
            self._is_open = False

    def wait(self, timeout: float | None = None) -> bool:
        """As an Event's, but whoever is woken and finds it closed again stays."""
        with self._turn:
            self.has_somebody = not self._is_open
            passes = self._turn.wait_for(self.is_set, timeout)
            self.has_somebody = False
        return passes
