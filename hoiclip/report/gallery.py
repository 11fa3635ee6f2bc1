"""Pictures of test images: ground truth beside predictions, misses and false alarms marked."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from hoiclip.evaluation.ap.matching import Pairs
from hoiclip.evaluation.ap.protocols import Offset
from hoiclip.evaluation.errors.oracle import RIGHT
from hoiclip.printable import printable
from hoiclip.report.diagnosis import kind_name
from hoiclip.report.inputs import Run
from hoiclip.report.operating_point import OperatingPoint
from hoiclip.visualization import draw_pairs
from hoiclip.visualization.draw_pairs import DrawnPair, Style

BY_HASH = 24
WORST = 12
STRIP = 4


@dataclass(frozen=True)
class Line:
    """One HOI class of a drawn pair, in words.

    Attributes:
        name: of the class.
        score: of the prediction; None for an annotation.
        good: whether it is found, or finds.
        remark: what it finds, or why it is wrong.
    """

    name: str
    score: float | None
    good: bool
    remark: str


@dataclass(frozen=True)
class Panel:
    """One picture with its list.

    Attributes:
        picture: `data:` URI.
        width: in pixels.
        height: in pixels.
        alt: the picture in words.
        entries: badge on the picture → lines.
    """

    picture: str
    width: int
    height: int
    alt: str
    entries: list[tuple[str, list[Line]]]


@dataclass(frozen=True)
class Card:
    """One test image: its name, its two panels, and the counts of its rows."""

    file_name: str
    truth: Panel
    prediction: Panel
    found: int
    annotated: int
    false_alarms: int


def by_hash(image_ids: Iterable[int], count: int = BY_HASH) -> list[int]:
    """The first `count` image ids by SHA-256 of their decimal digits: a draw nobody steers."""
    return sorted(
        (int(i) for i in image_ids), key=lambda i: hashlib.sha256(str(i).encode()).hexdigest()
    )[:count]


class Gallery:
    """Makes cards of a run's images.

    Args:
        run: the run.
        point: what of its predictions is shown.
        offset_xyxy: what was added to the boxes before they were matched.
    """

    def __init__(self, run: Run, point: OperatingPoint, offset_xyxy: Offset) -> None:
        self._run, self._point = run, point
        images = run.annotations.images.to_pydict()
        self._file_names = images["file_name"]
        self._positions = {image_id: i for i, image_id in enumerate(images["image_id"])}
        self._detections, self._truth = point.shown.detections, point.shown.ground_truth
        self._offset = np.asarray(offset_xyxy)
        self._names = [run.vocabulary.hoi_name(i) for i in range(run.vocabulary.num_hois)]
        self._finder = np.full(len(self._truth), -1)
        right = np.flatnonzero(point.shown.correct)
        self._finder[point.errors.target[right]] = right

    def card(self, image_id: int) -> Card:
        """Both panels of an image.

        Raises:
            InputError: the image is missing or damaged.
        """
        name = self._file_names[self._positions[image_id]]
        image, name = self._run.images.read(name), printable(name)
        rows, places = self._annotated(image_id), self._shown(image_id)
        pair_badges, query_badges = self._badges(rows, places)
        truth, truth_lines = [], []
        for pair, badge in pair_badges.items():
            of_pair = [row for row in rows if self._truth.pair[row] == pair]
            lines = [self._truth_line(row, query_badges) for row in of_pair]
            style = draw_pairs.FOUND if all(line.good for line in lines) else draw_pairs.MISSED
            truth.append(self._drawn(self._truth, of_pair[0], badge, style))
            truth_lines.append((badge, lines))
        predicted, predicted_lines = self._predicted(places, pair_badges, query_badges)
        found = int(self._point.shown.correct[places].sum())
        return Card(
            name,
            _panel(image, truth, truth_lines, f"Ground truth of {name}"),
            _panel(image, predicted, predicted_lines, f"Predictions for {name}"),
            found,
            len(rows),
            len(places) - found,
        )

    def named(self, image_id: int) -> Panel:
        """The predictions of an image with class names on the picture.

        Raises:
            InputError: the image is missing or damaged.
        """
        name = self._file_names[self._positions[image_id]]
        places = self._shown(image_id)
        badges = self._badges(self._annotated(image_id), places)
        drawn, lines = self._predicted(places, *badges)
        drawn = [
            replace(pair, label=", ".join(line.name for line in lines_of_pair))
            for pair, (_, lines_of_pair) in zip(drawn, lines, strict=True)
        ]
        image = self._run.images.read(name)
        return _panel(image, drawn, lines, f"Predictions for {printable(name)}")

    def _annotated(self, image_id: int) -> np.ndarray:
        """Annotations of an image, by human and object."""
        rows = np.flatnonzero(self._truth.image == self._positions[image_id])
        return rows[np.argsort(self._truth.pair[rows], kind="stable")]

    def _shown(self, image_id: int) -> np.ndarray:
        """Shown detections of an image, by falling score."""
        position = self._positions[image_id]
        first, last = np.searchsorted(self._detections.image, (position, position + 1))
        return first + np.argsort(-self._point.shown.scores[first:last], kind="stable")

    def _badges(
        self, rows: np.ndarray, places: np.ndarray
    ) -> tuple[dict[int, str], dict[int, str]]:
        """Pair → number and query → letter, in order of appearance."""
        pairs = _in_order(self._truth.pair[rows])
        queries = _in_order(self._detections.pair[places])
        return (
            {pair: str(number) for number, pair in enumerate(pairs, 1)},
            {query: letters(index) for index, query in enumerate(queries)},
        )

    def _predicted(
        self, places: np.ndarray, pair_badges: dict[int, str], query_badges: dict[int, str]
    ) -> tuple[list[DrawnPair], list[tuple[str, list[Line]]]]:
        drawn, entries = [], []
        for query, badge in query_badges.items():
            mine = [place for place in places if self._detections.pair[place] == query]
            lines = [self._prediction_line(place, pair_badges) for place in mine]
            style = draw_pairs.FOUND if all(line.good for line in lines) else draw_pairs.FALSE_ALARM
            drawn.append(self._drawn(self._detections, mine[0], badge, style))
            entries.append((badge, lines))
        return drawn, entries

    def _truth_line(self, row: int, query_badges: dict[int, str]) -> Line:
        name = self._names[self._truth.hoi[row]]
        if self._finder[row] >= 0:
            badge = query_badges[self._detections.pair[self._finder[row]]]
            return Line(name, None, True, f"found by {badge}")
        return Line(name, None, False, f"missed: {self._point.miss_reason[row]}")

    def _prediction_line(self, place: int, pair_badges: dict[int, str]) -> Line:
        name = self._names[self._detections.hoi[place]]
        score, errors = float(self._point.shown.scores[place]), self._point.errors
        target, kind = errors.target[place], errors.kind[place]
        where = "" if target < 0 else f" {pair_badges[int(self._truth.pair[target])]}"
        if kind == RIGHT:
            return Line(name, score, True, f"finds{where}")
        reason = kind_name(errors.kinds[kind])
        return Line(name, score, False, f"false alarm: {reason}{where and f' of{where}'}")

    def _drawn(self, pairs: Pairs, row: int, badge: str, style: Style) -> DrawnPair:
        human = pairs.human_boxes_xyxy[row] - self._offset
        object_ = pairs.object_boxes_xyxy[row] - self._offset
        missing = bool(np.isnan(object_).any())
        return DrawnPair(human.tolist(), None if missing else object_.tolist(), badge, style)


def letters(index: int) -> str:
    """A, B, ..., Z, AA, AB, ... for 0, 1, ..."""
    text = ""
    index += 1
    while index:
        index, digit = divmod(index - 1, 26)
        text = chr(ord("A") + digit) + text
    return text


def _in_order(values: np.ndarray) -> list[int]:
    return list(dict.fromkeys(values.tolist()))


def _panel(
    image: Image.Image, drawn: list[DrawnPair], entries: list[tuple[str, list[Line]]], what: str
) -> Panel:
    picture = draw_pairs.draw_pairs(image, drawn)
    uri = "data:image/jpeg;base64," + base64.b64encode(draw_pairs.jpeg(picture)).decode()
    words = "; ".join(
        f"{badge}, {line.name}, {line.remark}" for badge, lines in entries for line in lines
    )
    return Panel(uri, picture.width, picture.height, f"{what}: {words or 'no pair'}.", entries)
