"""Several workers on one store."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import Engine

from soboo_mta.store.writer import Writer


@pytest.fixture
async def second(engine: Engine) -> AsyncIterator[Writer]:
    """Another process's writer on the same store."""
    writer = Writer(engine)
    await writer.start()
    yield writer
    await writer.close()
