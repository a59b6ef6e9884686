"""The fixture `blindbox_emulator` for pytest, which is loaded where this package is installed."""

from typing import Iterator

import pytest

from . import Emulator


@pytest.fixture
def blindbox_emulator() -> Iterator[Emulator]:
    """A running emulator with a good guest."""
    with Emulator() as emulator:
        yield emulator
