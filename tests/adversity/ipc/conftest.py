"""What forks the lives of servers and clients, once for all tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.adversity.ipc.nursery import ForkedServing, Nursery

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """The process that has imported everything."""
    with Nursery() as running:
        yield running


@pytest.fixture
def server(nursery: Nursery, tmp_path: Path) -> Iterator[ForkedServing]:
    """A server whose lives are cheap."""
    with ForkedServing(nursery, tmp_path) as running:
        yield running
