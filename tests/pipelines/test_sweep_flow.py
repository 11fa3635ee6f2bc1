"""How a sweep starts, waits for and cancels runs, against a made-up server; and its report."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import ObjectNotFound

from pipelines import sweep
from pipelines.comparison import compare, spread, table
from pipelines.plan import Experiment, Plan, Switches
from pipelines.wanted import Wanted

EXPERIMENTS = tuple(Experiment("p", {"row": row}, 0, Switches()) for row in "abcd")
KEYS = {each.name: each.row * 64 for each in EXPERIMENTS}


class Server:
    """Runs take two looks; those of `ends` end as they say, the first time or always."""

    def __init__(self, **ends: Sequence[StateType]) -> None:
        self.ends = {name: list(states) for name, states in ends.items()}
        self.started: list[dict[str, Any]] = []
        self.live: dict[UUID, int] = {}
        self.names: dict[UUID, str] = {}
        self.cancelled: list[str] = []
        self.most = 0
        self.away = 0
        self.error: Exception = httpx.ConnectError("away")
        self.refuses = 0
        self.requests: list[str] = []

    def start(self, name: str, *, parameters: dict[str, Any], **more: Any) -> Any:
        assert more["timeout"] == 0
        assert more["as_subflow"] is False
        self.requests.append(more["idempotency_key"])
        if self.refuses:
            self.refuses -= 1
            raise self.error
        self.started.append({"deployment": name, **parameters})
        run = uuid4()
        self.live[run] = 0
        self.names[run] = parameters["row"]
        self.most = max(self.most, len(self.live))
        return SimpleNamespace(id=run)

    def read_flow_run(self, run: UUID) -> Any:
        if self.away:
            self.away -= 1
            raise self.error
        self.live[run] += 1
        if self.live[run] < 2:
            return SimpleNamespace(state=State(type=StateType.RUNNING), labels={})
        del self.live[run]
        states = self.ends.get(self.names[run], [])
        state = State(type=states.pop(0) if states else StateType.COMPLETED)
        return SimpleNamespace(state=state, labels={})

    def set_flow_run_state(self, run: UUID, state: State) -> None:
        assert state.type == StateType.CANCELLING
        self.cancelled.append(self.names[run])
        if len(self.cancelled) == 1:
            raise httpx.ConnectError("away")

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch):
    def run(server: Server, at_most: int = 2, keys: dict[str, str] | None = None):
        monkeypatch.setattr(sweep, "run_deployment", server.start)
        monkeypatch.setattr(sweep, "get_client", lambda sync_client: server)
        monkeypatch.setattr(sweep, "get_run_logger", lambda: logging.getLogger("test"))
        monkeypatch.setattr(sweep, "_POLL_SECONDS", 0.0)
        asked = Wanted(Plan("p", "", EXPERIMENTS), "smoke", ("x.y=1",))
        return sweep._run(asked, keys or KEYS, at_most, "reproduce/gpu", 15)

    return run


def test_no_more_at_a_time_than_asked_and_each_once(run) -> None:
    server = Server()
    server.away = 3
    assert run(server, at_most=3) == {}
    assert server.most == 3
    assert [each["row"] for each in server.started] == list("abcd")
    first = server.started[0]
    assert first == {
        "deployment": "reproduce/gpu", "profile": "smoke", "overrides": ["x.y=1"], "plan": "p",
        "row": "a", "seed": 0, "key": "a" * 64, "publish": True,
    }  # fmt: skip
    alone = Server()
    run(alone, at_most=1)
    assert alone.most == 1


def answered(code: int) -> Exception:
    request = httpx.Request("GET", "http://server")
    answer = httpx.Response(code, request=request)
    return httpx.HTTPStatusError(f"{code}", request=request, response=answer)


def unreachable() -> Exception:
    error = RuntimeError("Failed to reach API")
    error.__cause__ = httpx.ConnectError("away")
    return error


@pytest.mark.parametrize("error", [answered(500), answered(503), answered(429), unreachable()])
def test_a_server_at_fault_is_asked_again(run, error: Exception) -> None:
    server = Server()
    server.error, server.away, server.refuses = error, 2, 2
    assert run(server) == {}
    assert [each["row"] for each in server.started] == list("abcd")
    # The same request, so that the server can tell that it knows it.
    assert len(set(server.requests[:3])) == 1
    assert len(set(server.requests)) == 4


@pytest.mark.parametrize("error", [answered(401), RuntimeError("x")])
def test_other_errors_end_the_sweep(run, error: Exception) -> None:
    for number in ("away", "refuses"):
        server = Server()
        server.error = error
        setattr(server, number, 1)
        with pytest.raises(type(error)):
            run(server)


def test_a_run_that_was_deleted_is_started_once_more(run, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    deleted: list[UUID] = []
    read = server.read_flow_run

    def look(run: UUID) -> Any:
        if server.names[run] == "b" and not deleted:
            deleted.append(run)
            del server.live[run]
        if run in deleted:
            raise ObjectNotFound(answered(404))
        return read(run)

    monkeypatch.setattr(server, "read_flow_run", look)
    assert run(server) == {}
    assert [each["row"] for each in server.started].count("b") == 2
    assert server.cancelled == []


def test_one_key_is_one_run(run) -> None:
    server = Server()
    run(server, keys={**KEYS, "p-b-0": KEYS["p-a-0"]})
    assert [each["row"] for each in server.started] == list("acd")


def test_what_failed_is_told_and_the_others_run(run) -> None:
    server = Server(a=[StateType.FAILED], c=[StateType.CANCELLED])
    assert set(run(server)) == {"p-a-0", "p-c-0"}
    assert [each["row"] for each in server.started] == list("abcd")


def test_what_crashed_is_started_once_more(run) -> None:
    crashed = [StateType.CRASHED]
    once = Server(b=crashed)
    assert run(once) == {}
    assert [each["row"] for each in once.started].count("b") == 2
    always = Server(b=crashed * 3)
    assert set(run(always)) == {"p-b-0"}
    assert [each["row"] for each in always.started].count("b") == 2


def test_who_ends_the_sweep_ends_its_runs(run, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()

    def end(run: UUID) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(server, "read_flow_run", end)
    with pytest.raises(KeyboardInterrupt):
        run(server)
    # The first answers that it cannot; the second is asked all the same.
    assert server.cancelled == ["a", "b"]


def test_spread_by_hand() -> None:
    assert spread([2.0, 4.0, 9.0]) == {
        "n": 3, "mean": 5.0, "sd": pytest.approx(13**0.5), "low": 2.0, "high": 9.0,
    }  # fmt: skip
    assert spread([3.0]) == {"n": 1, "mean": 3.0, "sd": None, "low": 3.0, "high": 3.0}


def result(row: str, seed: int | None, metrics: Any) -> dict[str, Any]:
    return {"labels": {"row": row}, "title": row.upper(), "seed": seed, "metrics": metrics}


def test_results_that_differ_in_their_seed_are_one_row() -> None:
    results = [
        result("b", 1, {"default": {"full": 1.0, "rare": None}, "recall": 9}),
        result("a", 0, {"loss": 2, "good": True}),
        result("b", 0, {"default": {"full": 2.0, "rare": 8.0}}),
        result("c", None, None),
    ]
    rows = compare(results)
    assert [row["labels"]["row"] for row in rows] == ["b", "a", "c"]
    assert rows[0]["seeds"] == [1, 0]
    assert rows[0]["metrics"]["default.full"]["mean"] == 1.5
    assert rows[0]["metrics"]["default.rare"]["n"] == 1
    assert set(rows[0]["metrics"]) == {"default.full", "default.rare"}
    assert set(rows[1]["metrics"]) == {"loss"}
    lines = table(Plan("p", "About it", ()), rows, {}).splitlines()
    assert lines[:3] == ["# p", "", "About it"]
    assert lines[-5:] == [
        "| row | seeds | default.full | default.rare | loss |",
        "| --- | --- | --- | --- | --- |",
        "| b | 1, 0 | 1.50 ± 0.71 (1.00 to 2.00) | 8.00 | - |",
        "| a | 0 | - | - | 2.00 |",
        "| c | - | - | - | - |",
    ]
    assert "| seeds |\n" in table(Plan("p", "", ()), [], {})
