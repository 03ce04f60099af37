"""What every test may use: Hypothesis's profiles, a namespace of its own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests import peers
from tests.interop.suites import report

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# No deadlines: CI shares its two cores. CI derandomizes nothing: new examples in each run are how faults are found, and
# a failure prints what reproduces it.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), print_blob=True)
settings.register_profile("long", settings.get_profile("default"), max_examples=20_000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if peers.IN_CI else "default"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end what the suites for System V IPC counted."""
    report.write(terminalreporter)


@pytest.fixture
def namespace(tmp_path: Path) -> Iterator[peers.Namespace]:
    """A network and mount namespace of this test's own, where ports 111 and 600 are free; root only."""
    with peers.namespace(tmp_path) as made:
        yield made


@pytest.fixture
def rpcbind_namespace(namespace: peers.Namespace) -> peers.Namespace:
    """Such a namespace with the real rpcbind running in it."""
    namespace.rpcbind()
    return namespace
