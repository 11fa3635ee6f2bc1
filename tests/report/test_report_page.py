import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pytest
from report_run import SCRIPT, write_optional, write_run

from hoiclip.core import schema
from hoiclip.errors import InputError
from hoiclip.report.inputs import ReportInputs
from hoiclip.report.page import build_report, duration, number

SOURCE = {"commit": "abc1234", "dirty": False, "data_hash": None}
VOID = {"meta", "img", "line", "br", "link"}
REQUIRED = (
    "metrics", "per_class", "per_verb", "curves", "diagnosis", "predictions", "annotations",
    "images", "vocabulary", "params",
)  # fmt: skip


@pytest.fixture
def run_paths(tmp_path: Path) -> ReportInputs:
    return write_run(tmp_path / "project")


class Page(HTMLParser):
    """Tags of a page; fails where they do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.seen if name == tag]


def build(paths: ReportInputs, published: str | None = None, **source) -> str:
    out = paths.params.parent / "report/index.html"
    build_report(paths, out, {**SOURCE, **source}, published)
    return out.read_text(encoding="utf-8")


def test_a_run_without_optional_files(run_paths):
    text = build(run_paths)
    page = Page(text)
    assert text.startswith("<!DOCTYPE html>")
    assert "67.12" in page.text
    assert page.text.count("not run") == 6  # losses and five committed results
    assert page.text.count("not recorded") == 7  # five stages, counts and findings of the data
    assert len(page.all("article")) == 6 + 6
    assert "plus changes" not in page.text


def test_a_run_with_every_file(run_paths):
    write_optional(run_paths)
    page = Page(build(run_paths, dirty=True))
    assert "not run" not in page.text
    assert page.text.count("not recorded") == 4
    assert "A method on toy" in page.text
    assert "steps 3000, threads 2" in page.text
    assert "plus changes that are in no commit" in page.text
    assert "commit abc1234, on two CPU cores" in page.text
    methods = page.text.split("it shows that all of them work")[0].rpartition("CPU time")[2]
    assert "".join(methods.split()).startswith("NoCLIP13.600.6017.90")
    distilled = " ".join(page.text.split("CLIP distillation (after Wan & Tuytelaars)")[1].split())
    assert "Teacher alone52.6043.4056.00" in distilled
    assert "all branches51.7047.3053.90no" in distilled
    assert all(attributes["alt"] for attributes in page.all("img"))


def test_the_page_needs_nothing_beside_it(run_paths):
    write_optional(run_paths)
    text = build(run_paths)
    page = Page(text)
    targets = [a.get("src") or a.get("href") for _, a in page.seen if "src" in a or "href" in a]
    assert len(targets) > 20
    assert all(target.startswith(("data:image/", "#")) for target in targets)
    ids = {a["id"] for _, a in page.seen if "id" in a}
    assert {target[1:] for target in targets if target.startswith("#")} <= ids
    assert not page.all("script")
    assert "url(" not in text
    assert "@import" not in text


def test_addresses_of_the_params_are_told_without_secrets(run_paths):
    run_paths.params.write_text("clip_url: https://user:pass@a.org/b?token=c\n")
    text = build(run_paths)
    assert "clip_url: https://a.org/b\n" in text
    assert "token=c" not in text


def test_the_same_inputs_give_the_same_bytes(run_paths):
    write_optional(run_paths)
    assert build(run_paths) == build(run_paths)


def test_texts_of_the_data_are_escaped(tmp_path):
    paths = write_run(tmp_path, hostile=True)
    text = build(paths, commit=SCRIPT)
    page = Page(text)
    assert not page.all("script")
    assert SCRIPT not in text
    assert SCRIPT in page.text
    assert page.text.count(SCRIPT) >= 5  # commit, an object, and a verb in tables and gallery
    assert "\"quoted'<b>.png" in page.text
    assert any("\"quoted'<b>.png" in a["alt"] for a in page.all("img"))
    assert "# a comment <&>" in page.text


def test_unseen_subsets_are_shown_where_there_are_some(run_paths):
    text = run_paths.metrics.read_text()
    run_paths.metrics.write_text(text.replace('"full": 67', '"unseen": 12.5, "full": 67'))
    with pytest.raises(InputError, match=r"known_object.*unseen"):
        build(run_paths)
    text = run_paths.metrics.read_text()
    run_paths.metrics.write_text(text.replace('"full": 70', '"unseen": 13.5, "full": 70'))
    page = Page(build(run_paths))
    assert "Unseen" in page.text
    assert "13.50" in page.text


@pytest.mark.parametrize("name", REQUIRED)
def test_a_required_file_that_is_absent_is_named(run_paths, name):
    path = getattr(run_paths, name)
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(InputError, match="no such"):
        build(run_paths)
    assert not (run_paths.params.parent / "report/index.html").exists()


def test_malformed_files_are_named(run_paths):
    run_paths.curves.write_text("recall,full\n0,1\n")
    with pytest.raises(InputError, match=r"pr_curves\.csv"):
        build(run_paths)
    run_paths.metrics.write_text("[]")
    with pytest.raises(InputError, match=r"metrics\.json: a JSON list, expected an object"):
        build(run_paths)


def test_a_malformed_table_of_verbs_is_named(run_paths):
    for text in ("verb,ap\nhold,3\n", run_paths.per_verb.read_text() + "walk,x,3,4.5,,\n"):
        run_paths.per_verb.write_text(text)
        with pytest.raises(InputError, match=r"per_verb\.csv: not a table of verb, hoi_classes"):
            build(run_paths)


def test_predictions_of_other_data_are_refused(run_paths):
    table = schema.read_table(run_paths.predictions, schema.PREDICTIONS)
    wrong = table.set_column(
        0, schema.PREDICTIONS.field(0), pa.array([99] * len(table), pa.int64())
    )
    schema.write_table(run_paths.predictions, wrong, schema.PREDICTIONS, {})
    with pytest.raises(InputError, match=r"row 0, image_id: 99 is not"):
        build(run_paths)


def test_a_run_without_predictions_and_annotated_rows(run_paths):
    for path, table_schema in (
        (run_paths.predictions, schema.PREDICTIONS),
        (run_paths.annotations / "interactions.parquet", schema.INTERACTIONS),
    ):
        schema.write_table(path, table_schema.empty_table(), table_schema, {})
    page = Page(build(run_paths))
    assert "There are no predictions." in page.text
    assert page.text.count("no pair\n") == 2 * 12


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (61, "1 min 1 s"),
        (3599.6, "1 h 0 min"),
        (7380, "2 h 3 min"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_numbers():
    assert number(None) == "–"
    assert number(1.005, 1) == "1.0"


def test_project_layout_is_relative_to_its_root():
    paths = ReportInputs.of_project("root", "mine")
    assert paths.metrics == Path("root/metrics.json")
    assert paths.predictions == Path("root/runs/mine/predict/predictions.parquet")
    files = [value for value in vars(paths).values() if isinstance(value, Path)]
    assert all(re.match(r"root/", str(path)) for path in files)
