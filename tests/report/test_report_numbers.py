import json
import math

import numpy as np
import pyarrow as pa
import pytest
from report_run import toy_vocabulary, write_optional, write_run
from test_report_page import Page, build

from hoiclip.ablation import ABLATION_ROWS
from hoiclip.core import schema
from hoiclip.core.config import from_mapping
from hoiclip.errors import InputError, ParamsError
from hoiclip.methods.registry import METHODS, method_named
from hoiclip.report.inputs import ReportInputs, Run
from hoiclip.report.numbers import fraction_subsets
from hoiclip.report.published import (
    GEN_VLKT,
    HOICLIP,
    OF_FRACTION,
    ROWS,
    Published,
    ReportConfig,
)


@pytest.fixture
def hico(tmp_path) -> ReportInputs:
    """The toy's run under the name of HICO-DET."""
    paths = write_run(tmp_path / "project")
    toy_vocabulary().write(paths.vocabulary, {"source": "hico_det"})
    return paths


@pytest.fixture
def vcoco(tmp_path) -> ReportInputs:
    return write_run(tmp_path / "project", vcoco=True, images=12)


def change(path, **values) -> None:
    """Sets dotted keys (`a__b`) of a JSON file; `None` for a key deletes it."""
    document = json.loads(path.read_text())
    for key, value in values.items():
        *sections, last = key.split("__")
        place = document
        for name in sections:
            place = place[name]
        if value is None:
            del place[last]
        else:
            place[last] = value
    path.write_text(json.dumps(document))


def test_published_figures_stand_beside_the_run(hico):
    page = Page(build(hico, "hico"))
    text = page.text
    assert "Default, published HOICLIP34.6931.1235.74" in text
    assert "Known object, published HOICLIP37.6134.4738.54" in text
    assert "Default, published GEN-VLKT33.7529.2535.10" in text
    assert "Known object, published GEN-VLKT36.7832.7537.99" in text
    assert "Matlab" in text
    assert "checkpoint" in text
    assert "31.30" in text
    assert "counted by" not in text
    published = [row for row in page.all("tr") if row.get("class") == "published"]
    assert len(published) == 4


def test_without_a_row_nothing_is_quoted(hico):
    text = Page(build(hico)).text
    assert "published HOICLIP" not in text
    assert "Published:" not in text
    assert "34.69" not in text


@pytest.mark.parametrize("source", ["toy", "vcoco", None])
def test_a_run_on_other_data_shows_no_published_figure(hico, source):
    toy_vocabulary().write(hico.vocabulary, {"source": source} if source else {})
    text = Page(build(hico, "hico")).text
    assert "34.69" not in text
    assert "published HOICLIP" not in text
    told = f"row hico, which is about hico_det; this run is on {source or 'unknown data'}"
    assert told in text


def test_another_protocol_is_said_beside_published_figures(hico):
    change(hico.metrics, protocol="pocket")
    change(hico.diagnosis, protocol="pocket")
    text = Page(build(hico, "hico")).text
    assert "protocol pocket: the rules of the pocket library" in text
    assert "whose rules are protocol hico; this run is counted by pocket" in text


def test_zero_shot_figures_stand_under_their_subsets(hico):
    change(
        hico.metrics,
        default={"full": 30.0, "rare": 20.0, "non_rare": 33.0, "unseen": 25.0, "seen": 31.0},
        known_object={"full": 31.0, "rare": 21.0, "non_rare": 34.0, "unseen": 26.0, "seen": 32.0},
    )
    text = Page(build(hico, "hico-zero-shot-uv")).text
    assert "SettingFullRareNon-rareUnseenSeen" in text
    assert "Default30.0020.0033.0025.0031.00" in text
    assert "Default, published HOICLIP31.09––24.3032.19" in text
    assert "Default, published GEN-VLKT28.74––20.9630.23" in text


def test_a_fraction_counts_rare_by_what_it_trained_on(hico):
    run = Run.read(hico)
    assert fraction_subsets(run, "default") == {
        "rare_of_fraction": None,
        "non_rare_of_fraction": None,
    }
    # Class c has c training pairs in the fraction: 0..9 are rare.
    hois = np.repeat(np.arange(run.vocabulary.num_hois), np.arange(run.vocabulary.num_hois))
    rows = [
        {"image_id": 0, "human": 0, "object_instance": 1, "verb": 0, "hoi": int(h)} for h in hois
    ]
    table = pa.Table.from_pylist(rows, schema=schema.INTERACTIONS)
    schema.write_table(hico.train_pairs, table, schema.INTERACTIONS, {})
    classes = run.per_class.to_pylist()
    for setting in ("default", "known_object"):
        values = {"rare_of_fraction": [], "non_rare_of_fraction": []}
        for row in classes:
            key = "rare_of_fraction" if row["hoi"] < 10 else "non_rare_of_fraction"
            if row[f"ap_{setting}"] is not None:
                values[key].append(row[f"ap_{setting}"])
        found = fraction_subsets(Run.read(hico), setting)
        assert found == pytest.approx({k: sum(v) / len(v) for k, v in values.items()})
    text = Page(build(hico, "hico-fraction-25")).text
    assert "Rare in the fractionNon-rare in the fraction" in text
    assert "Default, published HOICLIP28.44––25.4730.52" in text
    assert "Default, published GEN-VLKT22.14––14.04–" in text
    assert "in the fraction" not in Page(build(hico, "hico")).text
    text = Page(build(hico, "gen-vlkt-fraction-25")).text
    assert "Default, published GEN-VLKT22.14––14.04–" in text
    assert "Published: size S, 25 % of the training images, as in the poster of HOICLIP" in text
    assert "Which classes are rare in a published fraction is not said" in text
    for of_hoiclip in ("published HOICLIP", "enhancement, on", "The authors chose", "the Matlab"):
        assert of_hoiclip not in text


def test_vcoco_shows_roles_first(vcoco):
    page = Page(build(vcoco, "vcoco"))
    text = page.text
    assert "A method on vcoco: 61.25 AP role, scenario 1" in text
    assert "Setting24 roles25 roles" in text
    assert "Scenario 161.2559.50" in text
    assert "Scenario 1, published HOICLIP63.50–" in text
    assert "Scenario 262.7560.88" in text
    assert "Scenario 2, published HOICLIP64.81–" in text
    assert "Scenario 2, published GEN-VLKT64.46–" in text
    assert "AP agent71.38" in text
    assert "no published measure of V-COCO" in text
    assert "Default67.1241.0075.00" in text
    assert "Matlab" not in text
    assert "cannot say" not in text
    assert "is not known here" not in text
    assert "human's box is right, the object is that of another role" in text
    order = ["carry_obj40.5", "hold_obj41.543.283.1230", "sit_on_obj47.5", "stand––34.19240"]
    assert sorted(order, key=text.index) == order


def test_what_annotations_of_vcoco_lack_is_said(vcoco):
    change(vcoco.metrics, missing_roles=False, unlabelled_people=False)
    text = Page(build(vcoco)).text
    assert "cannot say that the object of a role is not visible" in text
    assert "is not known here: predictions on them count as false alarms" in text


def test_verbs_of_hico_have_no_scenarios(hico):
    text = Page(build(hico)).text
    assert "VerbmAPHOI classesTest" in text
    assert "scenario" not in text.lower()


def test_errors_are_listed_the_costliest_first(hico):
    text = Page(build(hico)).text
    found = [text.index(f"{name}{meaning}") for name, meaning in (
        ("verb", "boxes and object"), ("background", "nothing annotated"),
        ("missed", "annotated, and no"), ("object box", "the class and"),
    )]  # fmt: skip
    assert found == sorted(found)
    assert "mAP, Default, Full is 67.12, 32.88 short of 100" in text
    assert "For 87.3 % of the annotated pairs" in text


def test_a_diagnosis_without_annotations(hico):
    kinds = json.loads(hico.diagnosis.read_text())["delta_ap"]
    empty = {"delta_ap": dict.fromkeys(kinds), "share": dict.fromkeys(kinds)}
    document = json.loads(hico.diagnosis.read_text()) | empty
    document |= {"map": None, "lost": None, "pair_recall": None}
    hico.diagnosis.write_text(json.dumps(document))
    text = Page(build(hico)).text
    assert "no annotations to measure by" in text
    assert "mAP, Default, Full is –, – short of 100" in text


def test_an_unknown_kind_of_error_is_shown_by_its_name(hico):
    change(hico.diagnosis, delta_ap__new_kind=50.0, share__new_kind=1.0, count__new_kind=7)
    assert "new kind50.001.0 %7" in Page(build(hico)).text.replace("\n", "")


def test_findings_are_counted_by_kind_and_partition(hico):
    write_optional(hico)
    text = Page(build(hico)).text
    assert "box clippedtest2yes" in text
    assert "box clippedtrain1,234yes" in text
    assert "unknown classtrain3left out" in text
    schema.write_table(hico.findings, schema.FINDINGS.empty_table(), schema.FINDINGS, {})
    assert "None: every row of the source" in Page(build(hico)).text


def test_counts_of_the_data_stand_beside_the_published_ones(hico):
    assert "Published" not in Page(build(hico)).text
    write_optional(hico)
    page = Page(build(hico))
    assert "WhatCountPublished" in page.text
    assert "train images3,0003,001" in page.text
    assert "test images800the same" in page.text
    assert "HOI classes44\n" in page.text
    change(hico.runs / "dataset/summary.json", published=[])
    assert "WhatCount\n" in Page(build(hico)).text


@pytest.mark.parametrize(
    "key",
    [
        "protocol", "default__rare", "known_object__full", "vcoco", "vcoco__ap_agent",
        "vcoco__ap_role_scenario_2_25", "missing_roles", "unlabelled_people",
    ],
)  # fmt: skip
def test_a_missing_metric_of_vcoco_is_named(vcoco, key):
    change(vcoco.metrics, **{key: None})
    with pytest.raises(InputError, match=rf"metrics\.json, {key.replace('__', '.')}.*: missing"):
        build(vcoco)


def test_vcoco_metrics_are_not_asked_of_hico(hico):
    assert "vcoco" not in json.loads(hico.metrics.read_text())
    build(hico)


@pytest.mark.parametrize("key", ["protocol", "map", "delta_ap", "share", "count", "pair_recall"])
def test_a_missing_part_of_the_diagnosis_is_named(hico, key):
    change(hico.diagnosis, **{key: None})
    with pytest.raises(InputError, match=rf"diagnosis\.json, {key}: missing"):
        build(hico)


def test_a_diagnosis_of_another_protocol_is_refused(hico):
    change(hico.diagnosis, protocol="hoiclip")
    with pytest.raises(InputError, match=r"diagnosis\.json, protocol: 'hoiclip', but .*'hico'"):
        build(hico)


def test_the_ablation_has_published_figures_where_it_was_run_on_hico_det(hico):
    write_optional(hico)
    assert "32.09 / 26.68 / 33.71" not in Page(build(hico, "hico")).text
    change(hico.results / "ablation.json", dataset="hico_det")
    assert "32.09 / 26.68 / 33.71" in Page(build(hico)).text


def test_rows_are_complete_and_in_percent():
    for row in ROWS.values():
        assert row.title
        assert row.figures
        assert set(row.figures) <= {method.title for method in map(method_named, METHODS)}
        for figures in (part for parts in row.figures.values() for part in parts.values()):
            assert all(0 < value < 100 and math.isfinite(value) for value in figures.values())
    for row in ABLATION_ROWS.values():
        assert set(ROWS[row.published].figures[HOICLIP]["default"]) == {"full", "rare", "non_rare"}


def test_published_figures_are_those_of_the_paper():
    """HOICLIP, CVPR 2023: tables of regular, zero-shot, fractional and V-COCO results."""

    def default(name):
        return tuple(ROWS[name].figures[HOICLIP]["default"].values())

    assert default("hico") == (34.69, 31.12, 35.74)
    assert tuple(ROWS["hico"].figures[HOICLIP]["known_object"].values()) == (37.61, 34.47, 38.54)
    fractions = ("5", "15", "25", "50")
    names = [f"hico-fraction-{name}" for name in fractions]
    assert [default(name)[0] for name in names] == [22.64, 27.07, 28.44, 30.88]
    assert [default(name)[1] for name in names] == [21.94, 24.59, 25.47, 26.05]
    gen_vlkt = [ROWS[name].figures[GEN_VLKT]["default"] for name in names]
    assert [figures["full"] for figures in gen_vlkt] == [15.84, 20.40, 22.14, 26.55]
    assert [figures[f"rare{OF_FRACTION}"] for figures in gen_vlkt] == [13.31, 13.84, 14.04, 18.94]
    keys = ("unseen", "seen", "full")
    zero_shot = {
        name: tuple(ROWS[f"hico-zero-shot-{name}"].figures[HOICLIP]["default"][key] for key in keys)
        for name in ("rf-uc", "nf-uc", "uc", "uo", "uv")
    }
    assert zero_shot == {
        "rf-uc": (25.53, 34.85, 32.99),
        "nf-uc": (26.39, 28.10, 27.75),
        "uc": (23.15, 31.65, 29.93),
        "uo": (16.20, 30.99, 28.53),
        "uv": (24.30, 32.19, 31.09),
    }
    ablation = [default(row.published) for row in ABLATION_ROWS.values()]
    assert ablation == [
        (32.09, 26.68, 33.71),
        (32.72, 28.74, 33.92),
        (34.13, 30.54, 35.20),
        (34.54, 30.71, 35.70),
        (34.69, 31.12, 35.74),
    ]
    assert default("hico-verb-text") == (33.38, 29.67, 34.49)
    assert default("hico-verb-average") == (33.09, 28.29, 34.52)
    assert tuple(ROWS["vcoco"].figures[HOICLIP]["vcoco"].values()) == (63.50, 64.81)


def test_published_figures_of_gen_vlkt_are_those_of_its_repository():
    def figures(name, part, *keys):
        return tuple(ROWS[name].figures[GEN_VLKT][part][key] for key in keys)

    sizes = {
        "s": (33.75, 29.25, 35.10, 36.78, 32.75, 37.99),
        "m": (34.63, 30.04, 36.01, 37.97, 33.72, 39.24),
        "l": (34.95, 31.18, 36.08, 38.22, 34.36, 39.37),
    }
    subsets = ("full", "rare", "non_rare")
    for size, expected in sizes.items():
        name = f"gen-vlkt-{size}"
        parts = [figures(name, part, *subsets) for part in ("default", "known_object")]
        assert sum(parts, ()) == expected
    zero_shot = {
        "rf-uc": (21.36, 32.91, 30.56),
        "nf-uc": (25.05, 23.38, 23.71),
        "uo": (10.51, 28.92, 25.63),
        "uv": (20.96, 30.23, 28.74),
    }
    for name, expected in zero_shot.items():
        found = figures(f"gen-vlkt-zero-shot-{name}", "default", "unseen", "seen", "full")
        assert found == expected
    roles = ("ap_role_scenario_1", "ap_role_scenario_2")
    assert figures("gen-vlkt-vcoco", "vcoco", *roles) == (62.41, 64.46)
    assert figures("gen-vlkt-vcoco-m", "vcoco", *roles) == (63.28, 65.58)
    assert figures("gen-vlkt-vcoco-l", "vcoco", *roles) == (63.58, 65.93)


@pytest.mark.parametrize(
    ("of_hoiclip", "of_gen_vlkt"),
    [
        ("hico", "gen-vlkt-s"),
        ("vcoco", "gen-vlkt-vcoco"),
        *((f"hico-fraction-{n}", f"gen-vlkt-fraction-{n}") for n in (5, 15, 25, 50)),
        *(
            (f"hico-zero-shot-{name}", f"gen-vlkt-zero-shot-{name}")
            for name in ("rf-uc", "nf-uc", "uo", "uv")
        ),
    ],
)
def test_a_row_of_hoiclip_quotes_the_baseline_that_its_paper_compares_with(of_hoiclip, of_gen_vlkt):
    assert ROWS[of_hoiclip].figures[GEN_VLKT] == ROWS[of_gen_vlkt].figures[GEN_VLKT]
    assert list(ROWS[of_hoiclip].figures) == [HOICLIP, GEN_VLKT]
    assert list(ROWS[of_gen_vlkt].figures) == [GEN_VLKT]


def test_figures_of_any_method_are_quoted_by_its_title(hico, monkeypatch):
    row = Published(title="some", figures={"ANOTHER": {"default": {"full": 12.34}}})
    monkeypatch.setattr("hoiclip.report.page.ROWS", {"some": row})
    assert "Default, published ANOTHER12.34––" in Page(build(hico, "some")).text


def test_a_row_of_gen_vlkt_quotes_its_own_paper(hico):
    text = Page(build(hico, "gen-vlkt-s")).text
    assert "Default, published GEN-VLKT33.7529.2535.10" in text
    assert "Known object, published GEN-VLKT36.7832.7537.99" in text
    assert "as in the tables of its repository (Liao et al., CVPR 2022)" in text
    assert "The authors chose the checkpoint on the test images." in text
    assert "published HOICLIP" not in text
    assert "enhancement, on the test" not in text
    text = Page(build(hico, "gen-vlkt-m")).text
    assert "trained again for the repository; the paper's own of this size are not known" in text
    assert "as in the paper" not in text


def test_an_unknown_row_is_refused_with_the_known_ones():
    assert from_mapping(ReportConfig, {"published": None}, "report").published is None
    with pytest.raises(ParamsError, match=r"report\.published: 'hiko', expected null or one of hi"):
        from_mapping(ReportConfig, {"published": "hiko"}, "report")
