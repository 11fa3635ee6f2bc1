"""The registry of formats, its names in other places, and the example of docs/extending.md."""

import json
import re
import subprocess
import sys
import typing
from importlib import import_module
from pathlib import Path

import pytest

from hoiclip.cli import build_parser, main
from hoiclip.data.annotations import Annotations
from hoiclip.datasets import hico_det, vcoco
from hoiclip.formats.annotations import own
from hoiclip.formats.annotations.source import SourceOptions
from hoiclip.formats.registry import ANNOTATION_FORMATS, PREDICTION_FORMATS, Format

ROOT = Path(__file__).parents[2]
DOCS = {n: (ROOT / f"docs/{n}.md").read_text(encoding="utf-8") for n in ("evaluation", "extending")}
VOCABULARY = {
    "objects": ["person", "cup"],
    "verbs": [{"name": "hold", "phrase": "holding"}],
    "hois": [["hold", "cup"]],
}
PAIRS = "#pairs\na.jpg 64 48 hold cup 1 2 20 40 18 20 70 26\n"
CSV = """file_name,width,height,human_x1,human_y1,human_x2,human_y2,object,\
object_x1,object_y1,object_x2,object_y2,verb
a.jpg,64,48,1,2,20,40,cup,18,20,70,26,hold
"""


@pytest.mark.parametrize("formats", [ANNOTATION_FORMATS, PREDICTION_FORMATS], ids=["truth", "said"])
def test_every_format_is_a_module_of_its_own_that_detects_and_loads(formats):
    modules = [import_module(format_.module) for format_ in formats.values()]
    assert len({module.__name__ for module in modules}) == len(formats)
    assert all(callable(module.detect) and callable(module.load) for module in modules)


def test_needs_are_options():
    needs = [need for format_ in ANNOTATION_FORMATS.values() for need in format_.needs]
    assert {option for need in needs for option in need.options} <= set(
        SourceOptions.__dataclass_fields__
    )


@pytest.mark.parametrize(
    ("verb", "option", "formats"),
    [
        ("import", "--kind", ANNOTATION_FORMATS),
        ("evaluate", "--kind", ANNOTATION_FORMATS),
        ("evaluate", "--format", PREDICTION_FORMATS),
    ],
)
def test_the_command_line_offers_them_and_the_docs_name_them(verb, option, formats):
    (verbs,) = (a for a in build_parser()._actions if a.dest == "verb")
    (action,) = (a for a in verbs.choices[verb]._actions if option in a.option_strings)
    assert tuple(action.choices) == tuple(formats)
    assert [name for name in formats if f"`{name}`" not in DOCS["evaluation"]] == []


def test_the_forms_of_the_params_are_formats():
    modules = {own.__name__}
    for source, config in ((hico_det, hico_det.HicoDetConfig), (vcoco, vcoco.VcocoConfig)):
        forms = typing.get_args(typing.get_type_hints(config)["annotations"])
        assert tuple(source._FORMATS) == forms
        modules |= {module.__name__ for module in source._FORMATS.values()}
    # A partition's folder is what the pipeline makes of the others.
    others = {f.module for name, f in ANNOTATION_FORMATS.items() if name != "partition"}
    assert modules == others


def test_the_names_cost_no_import_of_a_reader():
    code = (
        "import sys; import hoiclip.cli as c; c.build_parser(); "
        "assert not {'numpy', 'pyarrow', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The example of the docs as a module, its line in the registry, and the same pair twice."""
    (example,) = re.findall(r"```python\n(.*?)```", DOCS["extending"], re.DOTALL)
    (tmp_path / "documented_pairs.py").write_text(example, encoding="utf-8")
    (line,) = re.findall(r'"pairs": Format\(f"\{_A\}\.pairs", \((_\w+),\)\)', DOCS["extending"])
    assert line == "_VOCABULARY"
    needs = ANNOTATION_FORMATS["own"].needs
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "documented_pairs", raising=False)
    monkeypatch.setitem(ANNOTATION_FORMATS, "pairs", Format("documented_pairs", needs))
    (tmp_path / "vocabulary.json").write_text(json.dumps(VOCABULARY))
    (tmp_path / "pairs.txt").write_text(PAIRS)
    (tmp_path / "pairs.csv").write_text(CSV)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_documented_format_gives_what_csv_gives(folder, capsys):
    for name in ("pairs.txt", "pairs.csv"):
        assert main(["import", name, f"of_{name}", "--vocabulary", "vocabulary.json"]) == 0
    assert "read as pairs" in capsys.readouterr().out
    ours, other = (Annotations.read(folder / f"of_{n}") for n in ("pairs.txt", "pairs.csv"))
    assert ours.interactions.num_rows == 1
    assert ours.images.equals(other.images)
    assert ours.instances.equals(other.instances)
    assert ours.interactions.equals(other.interactions)
    # Cut to the image, which is 64 wide.
    assert ours.instances["box_xyxy"][1].as_py() == [18, 20, 64, 26]


def test_what_is_left_out_of_the_vocabulary_stands_beside_the_tables(folder):
    (folder / "pairs.txt").write_text(PAIRS + PAIRS.splitlines()[1].replace("cup", "person"))
    given = ["--vocabulary", "vocabulary.json", "--drop-unknown"]
    assert main(["import", "pairs.txt", "out", *given]) == 0
    tables = Annotations.read(folder / "out")
    assert tables.interactions.num_rows == 1
    assert tables.outside_vocabulary["verb"].to_pylist() == [0]


def test_the_documented_format_tells_what_it_needs_and_where_it_is_wrong(folder, capsys):
    assert main(["import", "pairs.txt", "out"]) == 1
    assert "its classes are unknown. Give --vocabulary" in capsys.readouterr().err
    (folder / "pairs.txt").write_text(PAIRS + "b.jpg 64 48 hold\n")
    assert main(["import", "pairs.txt", "out", "--vocabulary", "vocabulary.json"]) == 1
    assert "pairs.txt, row 1: 4 fields, expected 13" in capsys.readouterr().err
