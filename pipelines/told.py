"""What a person is told of the output of other programs."""

from __future__ import annotations

import re
from collections.abc import Iterable

_ADDRESS = re.compile(
    r"([A-Za-z][A-Za-z0-9+.-]*://)(?:[^\s/'\"]*@)?([^\s?#'\"]*)(?:[?#][^\s'\"]*)?"
)
SUPPORT = "Having any troubles?"
"""How the line begins with which DVC ends the output of an unexpected error."""

_NO_CAUSE = (SUPPORT, "Please make sure you have the correct access", "and the repository exists.")
_CAUSE = ("Having any troubles?", "Please make sure you have the correct access rights",
             "and the repository exists.")  # fmt: skip
_CAUSE = re.compile(r"(ERROR|error|fatal): ")


def without_secrets(text: str) -> str:
    """A text whose addresses have lost user, password, query and fragment."""
    return _ADDRESS.sub(r"\1\2", text)


def error_line(lines: Iterable[str]) -> str:
    """The line of DVC's or git's output that says what is wrong, or else the last one."""
    said = [line.strip() for line in lines if line.strip() and not line.startswith(_NO_CAUSE)]
    causes = [line for line in said if _CAUSE.match(line)]
    return (causes or said or ["it said nothing"])[-1]
