"""Which runs give signs of life, and which are lost."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, StateType
from prefect.testing.utilities import prefect_test_harness

from pipelines import alive
from pipelines.alive import LABEL, Watch

RUN = uuid4()


class Server:
    """One run, which ends by no sign of its own."""

    def __init__(self, type: StateType, labels: dict[str, Any]) -> None:
        self.state, self.labels, self.set = State(type=type), labels, []
        self.away = False

    def read_flow_run(self, run: UUID) -> Any:
        assert run == RUN
        if self.away:
            raise httpx.ConnectError("away")
        return SimpleNamespace(state=self.state, labels=self.labels)

    def set_flow_run_state(self, run: UUID, state: State, force: bool) -> None:
        assert force
        self.set.append(state.type)
        raise httpx.ConnectError("away")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(alive.time, "monotonic", lambda: now.seconds)
    return now


def looks(server: Server, clock: SimpleNamespace, seconds: float, times: int = 2) -> State | None:
    """What is found of the run in so many looks."""
    watch, found = Watch(600), {}
    for _ in range(times):
        found = watch.ended(server, [RUN])
        clock.seconds += seconds
    return found.get(RUN)


@pytest.mark.parametrize(
    ("type", "labels", "seconds", "end"),
    [
        (StateType.RUNNING, {LABEL: 1}, 599, None),
        (StateType.RUNNING, {LABEL: 1}, 600, StateType.CRASHED),
        (StateType.CANCELLING, {LABEL: 1}, 600, StateType.CANCELLED),
        # Of other code: it never gave a sign.
        (StateType.RUNNING, {}, 1e9, None),
        # A queue may be long, a pod waits for its GPU.
        (StateType.SCHEDULED, {}, 1e9, None),
        (StateType.PENDING, {}, 7199, None),
        (StateType.PENDING, {}, 7200, StateType.CRASHED),
    ],
)
def test_a_run_that_gives_no_sign_is_lost(clock, type, labels, seconds, end) -> None:
    server = Server(type, labels)
    found = looks(server, clock, seconds)
    assert (found and found.type) == end
    assert server.set == ([end] if end else [])


def test_a_sign_or_a_server_that_was_away_begins_the_time_anew(clock) -> None:
    server, watch = Server(StateType.RUNNING, {LABEL: 1}), Watch(600)
    for step in range(6):
        assert watch.ended(server, [RUN]) == {}
        clock.seconds += 599
        server.labels = {LABEL: step // 2}
        # No sign can come.
        server.away = step % 2 == 1
        assert watch.ended(server, [RUN]) == {}
        server.away = False


@pytest.mark.slow
def test_a_run_gives_signs_at_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alive, "SIGN_SECONDS", 0.2)

    @flow
    def works() -> list[int]:
        from prefect.runtime import flow_run

        alive.tell_alive(str(flow_run.id))
        seen: set[int] = set()
        with get_client(sync_client=True) as client:
            deadline = time.monotonic() + 30
            while len(seen) < 2 and time.monotonic() < deadline:
                labels = client.read_flow_run(UUID(str(flow_run.id))).labels
                seen |= {labels[LABEL]} if LABEL in labels else set()
                time.sleep(0.2)
        return sorted(seen)

    with prefect_test_harness(server_startup_timeout=120):
        assert len(works()) == 2
