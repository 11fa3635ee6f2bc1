"""What Python prints of a result, as JSON: `json.dumps(str(results))` is how projects release them.

Nothing is evaluated: each token is one of a closed list, or the text is refused. Read are lists,
tuples, dicts, strings, numbers, `None`, `True`, `False`, `nan`, `inf`, and the numbers, arrays and
tensors of NumPy and PyTorch, as `np.float32(0.9)`, `array([1., 2.], dtype=float32)` and
`tensor(0.9, device='cuda:0')`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from hoiclip.errors import InputError
from hoiclip.formats.json_stream import Text

CHUNK = 1 << 20
"""Characters read at a time."""

_LONGEST = 1 << 16
"""Characters of a token, which text of results never has."""
_AHEAD = 64
"""Characters after a token that may still belong to it; a string is as long as it is."""
_DEEPEST = 64
_SHOWN = 20
_TOKEN = re.compile(
    r"""(?P<space>\s{1,4096})
    |(?P<string>u?(?:'[^'\\]*(?:\\.[^'\\]*)*'|"[^"\\]*(?:\\.[^"\\]*)*"))
    |(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)L?
    |(?P<word>None\b|True\b|False\b|np\.(?:True|False)_|-?(?:nan|inf|Infinity)\b|NaN\b)
    |(?P<call>(?:(?:np|numpy|torch)\.)?(?:u?int\w*|float\w*|bool_?|str_|array|tensor)\()
    |(?P<name>[A-Za-z_][\w.]*|=|<[^<>]*>|:)
    |(?P<sign>[][{}(),])""",
    re.VERBOSE | re.DOTALL,
)
_NUMBER = r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?"
_SCALAR = rf"np\.(?:float|int)\d+\(({_NUMBER})\)"
_STRING = r"'[^'\"\\\x00-\x1f]*'"
# Bounded, because each repetition takes memory; possessive ones are wrong in Python 3.11.2.
_PLAIN = re.compile(rf"(?:[][{{}},:\ ]|{_STRING}|{_SCALAR}|{_NUMBER}(?![\w.])){{0,10000}}")
"""What nearly all of the text is, outside of other calls and of tuples."""
_UNWRAPPED = re.compile(rf"({_STRING})|{_SCALAR}")
_WORDS = {
    "None": "null", "True": "true", "False": "false", "np.True_": "true", "np.False_": "false",
    "nan": "NaN", "NaN": "NaN", "inf": "Infinity", "Infinity": "Infinity",
    "-inf": "-Infinity", "-Infinity": "-Infinity", "-nan": "NaN",
}  # fmt: skip
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_ESCAPED = {"\\": "\\", "'": "'", '"': '"', "n": "\n", "r": "\r", "t": "\t"}
_OPENING, _CLOSING = {"[": "]", "{": "}", "(": "]"}, {"]": "[", "}": "{", ")": "("}
_CALL = "call"


class PythonText:
    """JSON text, by `read`, of Python's.

    Args:
        path: the file, for messages.
        file: what to read.
    """

    def __init__(self, path: Path, file: Text) -> None:
        self._path, self._file = path, file
        self._text, self._passed, self._whole = "", 0, False
        self._open: list[str] = []
        """Calls and tuples, and the brackets within them; the reader of the JSON checks others."""
        self._past_first = 0
        """Depth of the call whose further arguments are passed over, or 0."""
        self._comma = False

    def read(self, size: int) -> str:
        """The JSON that follows, at least `size` characters; less at the end only.

        Raises:
            InputError: something else than what is read here.
        """
        pieces, length = [], 0
        while length < size and not self._whole:
            new = self._file.read(CHUNK)
            self._whole, self._text = not new, self._text + new
            pieces.append(self._piece())
            length += len(pieces[-1])
        return "".join(pieces)

    def _piece(self) -> str:
        """JSON of the tokens that are whole; what is left over stays in `_text`."""
        text, place, pieces = self._text, 0, []
        while place < len(text):
            if not self._open and (end := self._end_of_plain(text, place)) > place:
                pieces.append(self._pending() + _plain_json(text[place:end]))
                place = end
                continue
            found = _TOKEN.match(text, place)
            # A token at the end of what was read may go on.
            unsure = found is None or found.end() > len(text) - _AHEAD
            if unsure and not self._whole and len(text) - place < _LONGEST:
                break
            if found is None and text[place] in "'\"" and len(text) - place < _LONGEST:
                raise InputError(self._path, "the file is cut short", fix="Copy it again")
            if found is None or found.end() - place >= _LONGEST:
                raise self._refused(place)
            if (kind := found.lastgroup or "") != "space":
                pieces.append(self._json(kind, found[kind], place))
            place = found.end()
        self._text, self._passed = text[place:], self._passed + place
        # What stood apart stays apart: `1 2` is no 12.
        return " ".join([*pieces, ""])

    def _end_of_plain(self, text: str, place: int) -> int:
        found = _PLAIN.match(text, place)
        end = found.end() if found else place
        if end < len(text) or self._whole:
            return end
        # A number at the end of what was read may go on.
        return place + len(text[place:end].rstrip("0123456789.e+-"))

    def _pending(self) -> str:
        before, self._comma = "," if self._comma else "", False
        return before

    def _json(self, kind: str, token: str, place: int) -> str:
        if self._past_first:
            return self._passed_over(kind, token, place)
        if token == "," and self._open and self._open[-1] == _CALL:
            self._past_first = len(self._open)
            return ""
        if kind == "sign" and token in _CLOSING:
            # `(1,)` is a tuple of one.
            self._comma = False
            return self._closed(token, place)
        before = self._pending()
        if token == ",":
            # It waits for what follows it.
            self._comma = True
            return before
        if token == ":":
            return ":"
        if kind == "string":
            return before + json.dumps(self._unescaped(token, place))
        if kind == "number":
            return before + _json_number(token)
        if kind == "word":
            return before + _WORDS[token]
        if kind == "name":
            raise self._refused(place)
        if self._open or kind == "call" or token == "(":
            self._opened(kind, token, place)
        return before if kind == "call" else before + ("[" if token == "(" else token)

    def _passed_over(self, kind: str, token: str, place: int) -> str:
        """Further arguments of a call: `dtype=float32`, `device='cuda:0'`."""
        if kind == "call" or token in _OPENING:
            self._opened(kind, token, place)
        elif token in _CLOSING:
            self._closed(token, place)
            if len(self._open) < self._past_first:
                self._past_first = 0
        return ""

    def _opened(self, kind: str, token: str, place: int) -> None:
        self._open.append(_CALL if kind == "call" else token)
        if len(self._open) > _DEEPEST:
            raise self._refused(place, f"nested deeper than {_DEEPEST}")

    def _closed(self, token: str, place: int) -> str:
        if not self._open and token != ")":
            return token
        opened = self._open.pop() if self._open else ""
        if opened == _CALL and token == ")":
            return ""
        if opened != _CLOSING[token]:
            raise self._refused(place)
        return _OPENING[opened]

    def _unescaped(self, token: str, place: int) -> str:
        inner = token.lstrip("u")[1:-1]
        if "\\" not in inner:
            return inner

        def replaced(found: re.Match) -> str:
            code = found[1] or found[2] or found[3]
            if code is not None and int(code, 16) < 0x110000:
                return chr(int(code, 16))
            if found[4] not in _ESCAPED:
                raise self._refused(place)
            return _ESCAPED[found[4]]

        return _ESCAPE.sub(replaced, inner)

    def _refused(self, place: int, problem: str = "") -> InputError:
        shown = self._text[place : place + _SHOWN]
        if not problem:
            problem = f"{shown!r} is not read"
        if shown.startswith("..."):
            problem = "NumPy or PyTorch left out values (...) when it was printed"
        return InputError(
            self._path,
            f"Python's print of a result: {problem} at character {self._passed + place}",
            fix="Make it JSON where the result is: json.dump(results['preds'], file)",
        )


def _plain_json(text: str) -> str:
    if "(" in text:
        text = _UNWRAPPED.sub(r"\1\2", text)
    return text.replace("'", '"')


def _json_number(token: str) -> str:
    """A number as JSON writes it: Python's also begin or end with a point, or with +."""
    token = token.lstrip("+")
    whole, point, rest = token.partition(".")
    if not point:
        return token
    sign, digits = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    return f"{sign}{digits or '0'}.{rest if rest[:1].isdigit() else '0' + rest}"
