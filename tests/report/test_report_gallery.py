import hashlib
from pathlib import Path

import pytest
from report_run import write_run

from hoiclip.evaluation.ap.protocols import HICO
from hoiclip.evaluation.errors.matched_pairs import match_pairs
from hoiclip.report.gallery import Gallery, by_hash, letters
from hoiclip.report.inputs import Run
from hoiclip.report.operating_point import operating_point
from hoiclip.visualization import draw_pairs


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder: Path = tmp_path_factory.mktemp("project")
    return Run.read(write_run(folder, images=12))


@pytest.fixture(scope="module")
def gallery(run: Run) -> Gallery:
    matched = match_pairs(run.predictions, run.annotations, run.vocabulary, HICO)
    return Gallery(run, operating_point(matched, run.vocabulary, HICO), HICO.offset_xyxy)


def test_a_card_names_the_same_matches_on_both_sides(gallery):
    found = missed = alarms = 0
    for image_id in range(12):
        card = gallery.card(image_id)
        truth = [(badge, line) for badge, lines in card.truth.entries for line in lines]
        predicted = [(badge, line) for badge, lines in card.prediction.entries for line in lines]
        forth = {(badge, line.remark, line.name) for badge, line in truth if line.good}
        back = {
            (line.remark.removeprefix("finds "), f"found by {badge}", line.name)
            for badge, line in predicted
            if line.good
        }
        assert forth == back
        assert len(forth) == card.found
        assert len(truth) == card.annotated
        assert sum(not line.good for _, line in predicted) == card.false_alarms
        assert all("missed" in line.remark for _, line in truth if not line.good)
        assert all("false alarm" in line.remark for _, line in predicted if not line.good)
        assert all(line.name in card.truth.alt for _, line in truth)
        found, missed = found + card.found, missed + card.annotated - card.found
        alarms += card.false_alarms
    assert min(found, missed, alarms) > 0


def test_misses_and_false_alarms_are_drawn_as_such(gallery, monkeypatch):
    drawn = []
    draw = draw_pairs.draw_pairs
    monkeypatch.setattr(
        draw_pairs, "draw_pairs", lambda image, pairs: drawn.append(pairs) or draw(image, pairs)
    )
    for image_id in range(12):
        drawn.clear()
        card = gallery.card(image_id)
        sides = (card.truth, draw_pairs.MISSED), (card.prediction, draw_pairs.FALSE_ALARM)
        for pairs, (panel, bad) in zip(drawn, sides, strict=True):
            assert [pair.label for pair in pairs] == [badge for badge, _ in panel.entries]
            assert [pair.style for pair in pairs] == [
                draw_pairs.FOUND if all(line.good for line in lines) else bad
                for _, lines in panel.entries
            ]


def test_the_hash_order_is_that_of_sha256():
    ids = list(range(100))
    expected = sorted(ids, key=lambda i: hashlib.sha256(f"{i}".encode()).digest())
    assert by_hash(ids) == expected[:24]
    assert by_hash(reversed(ids), 3) == expected[:3]
    assert by_hash([]) == []


@pytest.mark.parametrize(
    ("index", "text"), [(0, "A"), (25, "Z"), (26, "AA"), (51, "AZ"), (52, "BA"), (702, "AAA")]
)
def test_letters(index, text):
    assert letters(index) == text
