"""What the mind answers when it cannot do as asked: a sentence inside, a number only at the doors."""

from __future__ import annotations

from datetime import datetime


class Problem(Exception):
    """Something a caller asked for that cannot be done; the message is a sentence for the caller."""


class Missing(Problem):
    """It does not exist, or the caller may not know that it does."""


class Refused(Problem):
    """The caller may see it but may not do this with it."""


class Unacceptable(Problem):
    """The words of the request make no sense; the message says which and why."""


class LostRace(Problem):
    """Someone else was first."""

    def __init__(self, sentence: str, *, holder: str | None = None, since: datetime | None = None) -> None:
        super().__init__(sentence)
        self.holder = holder
        self.since = since


class StaleFence(LostRace):
    """The lease was lost: what was typed is not written over what the new holder writes."""


class WrongState(LostRace):
    """The thing has moved on; this step is not possible from where it stands now."""


class WrongCredentials(Problem):
    """The name, the password or the one-time code is wrong; which one is not said."""


class TooManyAttempts(Problem):
    def __init__(self, sentence: str, *, retry_after: int) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after
