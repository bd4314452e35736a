"""A few hundred seeds of each target; `script/fuzz` runs the hundred thousand."""

import pytest

from tests.fuzzing.__main__ import CALLERS, fuzz
from tests.fuzzing.readers import READERS


@pytest.mark.parametrize("name", [*READERS, *CALLERS])
def test_harmed_input_does_no_harm(name: str) -> None:
    assert fuzz(name, range(300 if name in READERS else 150))
