"""What the person at the terminal can do something about, said in one sentence and without a traceback."""


class Complaint(Exception):
    """The message is the sentence."""
