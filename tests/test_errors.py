import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from hoiclip.errors import (
    HoiclipError,
    InputError,
    NonFiniteLossError,
    ParamsError,
    WeightsError,
)
from hoiclip.printable import printable
from hoiclip.progress import say
from hoiclip.stage_main import fail

FULL = InputError("a/b.json", "7 is not a verb", row=3, key="verb", fix="Mend it")


def refuse(number):
    raise InputError("a.json", f"{number} is odd", row=number)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (InputError("a", "wrong"), "a: wrong"),
        (InputError("a", "wrong", row=0), "a, row 0: wrong"),
        (InputError("a", "wrong", key="k", fix="Mend it"), "a, k: wrong. Mend it"),
        (FULL, "a/b.json, row 3, verb: 7 is not a verb. Mend it"),
        (InputError("a\nb", "one\r\ntwo\u2028three"), "a\\nb: one two three"),
    ],
)
def test_text_is_one_line_with_file_row_and_key(error, text):
    assert str(error) == text


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_input_error_survives_pickling(protocol):
    again = pickle.loads(pickle.dumps(FULL, protocol))
    assert type(again) is InputError
    assert str(again) == str(FULL)
    assert (again.path, again.row, again.key) == (Path("a/b.json"), 3, "verb")
    assert str(pickle.loads(pickle.dumps(again))) == str(FULL)


@pytest.mark.parametrize("kind", [HoiclipError, NonFiniteLossError, ParamsError, WeightsError])
def test_other_errors_survive_pickling(kind):
    assert str(pickle.loads(pickle.dumps(kind("x: y")))) == "x: y"


def test_input_error_comes_back_from_a_worker_process():
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
        with pytest.raises(InputError, match=r"a\.json, row 5: 5 is odd"):
            pool.submit(refuse, 5).result()
        assert pool.submit(abs, -1).result() == 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Straße 犬 🛹.png", "Straße 犬 🛹.png"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("a\u202egnp.exe", "a\\u202egnp.exe"),
        ("caf\udce9", "caf\\udce9"),
        ("a\tb\x7f", "a\\tb\\x7f"),
    ],
)
def test_what_a_terminal_would_act_on_is_escaped(text, shown, capsys):
    assert printable(text) == shown
    for error in (InputError(text, "wrong"), WeightsError(f"{text}: wrong")):
        assert str(error) == f"{shown}: wrong"
        fail(error)
        assert capsys.readouterr().err == f"error: {shown}: wrong\n"
    say(text)
    assert capsys.readouterr().err == f"{shown}\n"
