"""Predictions as projects release them: in an object, in a string, as Python prints them."""

from __future__ import annotations

import json
import math

import annotation_files as files
import numpy as np
import pytest
from prediction_files import score_files

from hoiclip.errors import InputError
from hoiclip.formats import json_stream
from hoiclip.formats.predictions import python_text, wrappings
from hoiclip.formats.predictions.wrappings import prediction_entries as entries_of

ENTRIES = [
    {"file_name": "it's (1), np.int64(3).jpg", "n": [1.5, -2, 1e-07, None, True]},
    {"file_name": 'q"é\U0001f600\n\\\x07', "n": []},
]
WRAPPED = {"preds": ENTRIES, "gts": [{"a": 1}]}
WRAPPINGS = {
    "list": json.dumps(ENTRIES),
    "object": json.dumps(WRAPPED, indent=1),
    "object, the list last": json.dumps({"gts": [[], {"preds": []}], "n": 1.5} | WRAPPED),
    "string of the print": json.dumps(str(WRAPPED)),
    "string of the print of the list": json.dumps(str(ENTRIES)),
    "string of JSON": json.dumps(json.dumps(WRAPPED)),
    "string of a string": json.dumps(json.dumps(str(WRAPPED))),
    "print": str(WRAPPED),
    "print of the list": "\n " + str(ENTRIES),
}


def read(tmp_path, text, name="p.json"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return [entry for _, entry in entries_of(path)]


@pytest.mark.parametrize("chunk", [1, 3, 1 << 20])
@pytest.mark.parametrize("name", WRAPPINGS)
def test_every_wrapping_holds_the_same(tmp_path, monkeypatch, name, chunk):
    monkeypatch.setattr(python_text, "CHUNK", chunk)
    monkeypatch.setattr(json_stream, "CHUNK", chunk)
    monkeypatch.setattr(wrappings, "CHUNK", chunk)
    assert read(tmp_path, WRAPPINGS[name]) == ENTRIES


@pytest.mark.parametrize("chunk", [1, 2, 5, 1 << 20])
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[1., .5, 1.e5, -1., -.5, +2, 1e-05, 5L, 1E3]", [1, 0.5, 1e5, -1, -0.5, 2, 1e-5, 5, 1e3]),
        (
            "['a', \"it's\", '\\x41\\u00e9\\\\', u'k', '\\U0001f600']",
            ["a", "it's", "Aé\\", "k", "😀"],
        ),
        ("[(1, 2), (1,), (), ((),)]", [[1, 2], [1], [], [[]]]),
        ("[None, True, False, np.True_, np.False_]", [None, True, False, True, False]),
        ("[inf, -inf, np.float32(-inf)]", [math.inf, -math.inf, -math.inf]),
        ("[np.float32(0.5), np.int64(-3), np.float64(1e-05)]", [0.5, -3, 1e-5]),
        ("[array([[1., 2.],\n       [3., 4.]], dtype=float32), 5]", [[[1, 2], [3, 4]], 5]),
        ("[tensor([0.5, 1.], device='cuda:0', grad_fn=<AddBackward0>)]", [[0.5, 1]]),
        ("{'preds': [tensor(0.9, dtype=torch.float16), tensor(3)]}", [0.9, 3]),
        ("[np.array([np.float32(1.0)], dtype=np.dtype('float32'))]", [[1.0]]),
        ("['np.int64(3)', np.str_('x'), {'a': np.int64(3)}]", ["np.int64(3)", "x", {"a": 3}]),
        ("[array([], dtype=float32), array([(1, 2)])]", [[], [[1, 2]]]),
    ],
)
def test_what_python_prints(tmp_path, monkeypatch, text, value, chunk):
    monkeypatch.setattr(python_text, "CHUNK", chunk)
    # The first string tells that Python printed it.
    entries = "['first', " + text.lstrip("[{") if text[0] == "[" else text
    expected = ["first", *value] if text[0] == "[" else value
    if text.startswith("[("):
        entries = "['first', " + text[1:]
    assert read(tmp_path, entries) == expected


def test_a_print_of_numpy_itself(tmp_path):
    rng = np.random.default_rng(0)
    boxes = rng.random((3, 4)).astype(np.float32) * 100
    entry = {"bbox": list(boxes[0]), "boxes": boxes, "score": boxes[1, 2], "n": np.int64(4)}
    expected = {"bbox": boxes[0].tolist(), "boxes": boxes.tolist(), "n": 4}
    (found,) = read(tmp_path, json.dumps(str({"preds": [entry]})))
    assert found["score"] == pytest.approx(float(boxes[1, 2]), rel=1e-6)
    for key, value in expected.items():
        assert np.allclose(found[key], value, rtol=1e-6)
    (found,) = read(tmp_path, "{'preds': [nan, np.float32(nan), -nan]}")[:1]
    assert math.isnan(found)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("['a', __import__('os').system('touch marker')]", "\"__import__('os').sys\" is not read"),
        ("['a', os.system('touch marker')]", "is not read at character 6"),
        ("['a', (lambda: 1)()]", "'lambda: 1)()]' is not read"),
        ("['a', [1 for _ in 'x']]", "is not read"),
        ("['a', 1+2]", "not valid JSON"),
        ("['a', 1 2]", "not valid JSON"),
        ("['a' 'b']", "expected , or ]"),
        ("['a', array([1 2])]", "not valid JSON"),
        ("['a', array([1, ..., 2])]", "left out values (...)"),
        ("['a', f'{1}']", "is not read"),
        ("['a', b'x']", "is not read"),
        ("['a', '\\N{DASH}']", "is not read"),
        ("['a', 0x10]", "is not read"),
        ("['a', 1j]", "is not read"),
        ("['a', {1, 2}]", "not valid JSON"),
        ("['a', array([1)]]", "is not read"),
        ("['a', 1)]", "is not read"),
        ("['a', " + "(" * 100, "nested deeper than 64"),
        ("['a', " + "array(" * 100, "nested deeper than 64"),
        ("['a', array([1], " + "(" * 100, "nested deeper than 64"),
        ("['a', " + "[" * 100_000, "not valid JSON"),
        ("['a', " + "9" * 5000, "not valid JSON"),
        ("['a', " + "9" * 100_000, "is not read"),
        ("['a', '\\n" + "x" * 100_000 + "']", "is not read"),
        ("['a', '\\n" + "x" * 100_000, "is not read"),
        ("['a', 'b", "cut short"),
        ("['a', {'b': [1, ", "cut short"),
        ('"[\'a\', 1', "cut short"),
        ('"[\'a\']" 5', "not valid JSON"),
        (json.dumps(json.dumps(json.dumps("[]"))), "a string in a string in a string"),
        ('{"a": 1, "b": [2]}', "an object with the keys ['a', 'b'], expected a JSON list"),
        ('{"a": 1}\n{"a": 2}', "Lines)? Put [ ] around them and commas between them"),
        ('{"a": 1, "preds": {"b": 2}}', "expected a JSON list, which begins with ["),
        ('{"preds": null}', "expected a JSON list"),
        ('{"preds" 5}', "expected :"),
        ('{"a": ', "cut short"),
        ("{}", "an object with the keys []"),
        ("{" + '"a": 1, ' * 1000 + '"preds": []}', "an object with the keys ['a', 'a', "),
        ("{" * 100_000, "an object with the keys []"),
        ('{"a":' * 100_000, "not valid JSON"),
        ("5", "expected a JSON list"),
        ('""', "expected a JSON list"),
    ],
)  # fmt: skip
def test_the_rest_is_refused(tmp_path, monkeypatch, text, told):
    monkeypatch.chdir(tmp_path)
    for written in (text, json.dumps(text) if text[:1] in "[{" else text):
        with pytest.raises(InputError) as caught:
            read(tmp_path, written)
        assert told in str(caught.value)
        assert "p.json" in str(caught.value)
        assert len(str(caught.value)) < 600
    assert not (tmp_path / "marker").exists()


def test_limits(tmp_path, monkeypatch):
    monkeypatch.setattr(wrappings, "LONGEST_STRING", 1000)
    with pytest.raises(InputError, match=r"more than 1000 characters\. Unwrap it where"):
        read(tmp_path, json.dumps("[" + "1, " * 1000))
    monkeypatch.setattr(json_stream, "LONGEST_ENTRY", 1000)
    monkeypatch.setattr(json_stream, "CHUNK", 100)
    assert len(read(tmp_path, json.dumps([list(range(100))] * 50))) == 50
    with pytest.raises(InputError, match="row 1: longer than 1000 characters"):
        read(tmp_path, json.dumps([1, list(range(1000))]))


def test_hoia_and_lists_of_v_coco_are_scored_from_every_wrapping(tmp_path):
    listed, (truth, coco) = files.vcoco_list(tmp_path), files.vcoco_files(tmp_path)
    hoia, annotations = files.hoia_predictions(tmp_path), files.hico_instances(tmp_path)
    for path, arguments in ((hoia, (annotations,)), (listed, (truth, {"coco": (coco,)}))):
        content = json.loads(path.read_text())
        expected = score_files(path, *arguments).metrics()
        for text in (
            json.dumps({"preds": content}),
            json.dumps(str({"preds": content, "gts": []})),
            str(content),
        ):
            other = tmp_path / "wrapped.json"
            other.write_text(text)
            assert score_files(other, *arguments).metrics() == expected


def test_wrapped_annotations_are_told(tmp_path):
    content = json.loads(files.hico_hoia(tmp_path).read_text())
    path = tmp_path / "w.json"
    path.write_text(json.dumps(str({"preds": content})))
    with pytest.raises(InputError, match="holds annotations"):
        score_files(path, files.hico_instances(tmp_path))
