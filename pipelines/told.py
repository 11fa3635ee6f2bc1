"""What a person is told of the output of other programs."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]*://"
# User and password: up to an @ before the first slash; where no port follows the colon, a slash in
# a password is taken for what it is, up to the last @.
_USER = r"(?:[^\s/'\"]*@|[^\s/'\"]*:(?!\d*(?:[/?#\s'\"]|$))[^\s'\"]*@)?"
_ADDRESS = re.compile(rf"({_SCHEME}){_USER}((?:(?!{_SCHEME})[^\s?#'\"])*)(?:[?#][^\s'\"]*)?")
SUPPORT = "Having any troubles?"
"""How the line begins with which DVC ends the output of an unexpected error."""

_NO_CAUSE = (SUPPORT, "Please make sure you have the correct access", "and the repository exists.")
_CAUSE = re.compile(r"(ERROR|error|fatal): ")


def without_secrets(text: str) -> str:
    """A text whose addresses have lost user, password, query and fragment."""
    return _ADDRESS.sub(r"\1\2", text)


def error_line(lines: Iterable[str]) -> str:
    """The line of DVC's or git's output that says what is wrong, or else the last one."""
    said = [line.strip() for line in lines if line.strip() and not line.startswith(_NO_CAUSE)]
    causes = [line for line in said if _CAUSE.match(line)]
    return (causes or said or ["it said nothing"])[-1]
