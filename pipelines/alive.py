"""Signs of life of a run: of a machine that is lost, Prefect's server keeps the runs as `Running`.

A run gives a sign now and then, as a label of its own at the server, whatever its worker's settings
are (Prefect's heartbeats are off by default, and events that no run shows); who waits for it counts
the time since the last one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import ObjectNotFound

LABEL = "hoiclip-alive"
SIGN_SECONDS = 30.0
# A pod may wait for a GPU for an hour (`start_seconds` of the job template) before it is given up.
_PENDING_SECONDS = 2 * 60 * 60.0
_TOO_MANY_REQUESTS, _SERVERS_FAULT = 429, 500


def tell_alive(run: UUID | str) -> None:
    """Tells the server from now on, while this process lives, that its run does.

    A server that is away is not waited for.
    """

    def tell() -> None:
        while True:
            with suppress(Exception), get_client(sync_client=True) as client:
                client.update_flow_run_labels(UUID(str(run)), {LABEL: int(time.time())})
            time.sleep(SIGN_SECONDS)

    threading.Thread(target=tell, daemon=True).start()


def may_pass(error: Exception) -> bool:
    """Whether the server is away or at fault, so that it is worth asking again."""
    if isinstance(error, httpx.HTTPStatusError):
        code = error.response.status_code
        return code == _TOO_MANY_REQUESTS or code >= _SERVERS_FAULT
    # Prefect's client raises a bare RuntimeError where it cannot ask for the server's version.
    return any(isinstance(each, httpx.TransportError) for each in (error, error.__cause__))


class Watch:
    """Waits for runs, and tells those that are lost from those that take long.

    Args:
        silent_seconds: how long a run may give no sign until it is lost. Of one that never gave
            any, as of other code, nobody can tell; one that does not begin is lost after two hours.
    """

    def __init__(self, silent_seconds: float) -> None:
        self._silent_seconds = silent_seconds
        self._seen: dict[UUID, tuple[Any, float]] = {}

    def ended(self, client: SyncPrefectClient, runs: Sequence[UUID]) -> dict[UUID, State[Any]]:
        """The runs that have ended, or are lost or deleted, which is `CRASHED`."""
        found = {}
        for run in runs:
            try:
                told = client.read_flow_run(run)
            except ObjectNotFound:
                found[run] = State(type=StateType.CRASHED, message="was deleted at the server")
                continue
            except Exception as error:
                if not may_pass(error):
                    raise
                # Nor could the runs give a sign: their time begins anew.
                self._seen.clear()
                continue
            state = told.state
            if state is None:
                continue
            if state.is_final():
                found[run] = state
            elif self._is_lost(run, state, told.labels):
                found[run] = _give_up(client, run, state)
        for run in found:
            self._seen.pop(run, None)
        return found

    def _is_lost(self, run: UUID, state: State[Any], labels: dict[str, Any]) -> bool:
        sign, now = (state.type, state.timestamp, labels.get(LABEL)), time.monotonic()
        last, since = self._seen.get(run, (None, now))
        if sign != last:
            self._seen[run] = (sign, now)
            return False
        if state.type == StateType.PENDING:
            return now - since >= max(self._silent_seconds, _PENDING_SECONDS)
        gives_signs = state.type in (StateType.RUNNING, StateType.CANCELLING) and LABEL in labels
        return gives_signs and now - since >= self._silent_seconds


def _give_up(client: SyncPrefectClient, run: UUID, state: State[Any]) -> State[Any]:
    """The state of a run that is lost, at the server too."""
    cancelled = state.type == StateType.CANCELLING
    lost = State(
        type=StateType.CANCELLED if cancelled else StateType.CRASHED,
        message="gave no sign of life: its machine or its worker is lost",
    )
    with suppress(Exception):
        client.set_flow_run_state(run, lost, force=True)
    return lost
