"""Pictures of test images: ground truth beside predictions, misses and false alarms marked."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from hoiclip import pictures
from hoiclip.errors import printable
from hoiclip.pictures import DrawnPair, Style
from hoiclip.report.inputs import Run
from hoiclip.report.matching import DUPLICATE, FOUND, NO_PAIR, AtThreshold
from hoiclip.schema import fixed_lists_to_numpy

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
    """Makes cards of a run's images."""

    def __init__(self, run: Run, cut: AtThreshold) -> None:
        self._run, self._cut = run, cut
        images = run.annotations.images.to_pydict()
        self._file_names = dict(zip(images["image_id"], images["file_name"], strict=True))
        self._matches = matches = cut.matches
        self._row_image_ids = matches.row_image_ids
        self._human = fixed_lists_to_numpy(run.predictions["human_box_xyxy"])[matches.order]
        self._object = fixed_lists_to_numpy(run.predictions["object_box_xyxy"])[matches.order]
        self._query = run.predictions["query"].to_numpy()[matches.order]
        self._hoi = run.predictions["hoi"].to_numpy()[matches.order]
        self._names = [run.vocabulary.hoi_name(i) for i in range(run.vocabulary.num_hois)]
        self._finder = np.full(len(matches.pairs.hoi_of_row), -1)
        shown = np.flatnonzero(cut.shown & (matches.found_row >= 0))
        self._finder[matches.found_row[shown]] = shown

    def card(self, image_id: int) -> Card:
        """Both panels of an image.

        Raises:
            InputError: the image is missing or damaged.
        """
        name = self._file_names[image_id]
        image, name = self._run.images.read(name), printable(name)
        rows = np.flatnonzero(self._row_image_ids == image_id)
        places = self._shown(image_id)
        pair_badges, query_badges = self._badges(rows, places)
        truth, truth_lines = [], []
        pairs = self._matches.pairs
        for pair, badge in pair_badges.items():
            lines = [
                self._truth_line(row, query_badges)
                for row in rows
                if pairs.pair_of_row[row] == pair
            ]
            style = pictures.FOUND if all(line.good for line in lines) else pictures.MISSED
            boxes = pairs.human_boxes_xyxy[pair], pairs.object_boxes_xyxy[pair]
            truth.append(_drawn(*boxes, badge, style))
            truth_lines.append((badge, lines))
        predicted, predicted_lines = self._predicted(places, pair_badges, query_badges)
        found = int((self._matches.found_row[places] >= 0).sum())
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
        name = self._file_names[image_id]
        places = self._shown(image_id)
        badges = self._badges(np.flatnonzero(self._row_image_ids == image_id), places)
        drawn, lines = self._predicted(places, *badges)
        drawn = [
            replace(pair, label=", ".join(line.name for line in lines_of_pair))
            for pair, (_, lines_of_pair) in zip(drawn, lines, strict=True)
        ]
        image = self._run.images.read(name)
        return _panel(image, drawn, lines, f"Predictions for {printable(name)}")

    def _shown(self, image_id: int) -> np.ndarray:
        first, last = np.searchsorted(self._matches.image_ids, (image_id, image_id + 1))
        return first + np.flatnonzero(self._cut.shown[first:last])

    def _badges(
        self, rows: np.ndarray, places: np.ndarray
    ) -> tuple[dict[int, str], dict[int, str]]:
        """Pair → number and query → letter, in order of appearance."""
        pairs = _in_order(self._matches.pairs.pair_of_row[rows])
        queries = _in_order(self._query[places])
        return (
            {pair: str(number) for number, pair in enumerate(pairs, 1)},
            {query: letters(index) for index, query in enumerate(queries)},
        )

    def _predicted(
        self, places: np.ndarray, pair_badges: dict[int, str], query_badges: dict[int, str]
    ) -> tuple[list[DrawnPair], list[tuple[str, list[Line]]]]:
        drawn, entries = [], []
        for query, badge in query_badges.items():
            mine = [place for place in places if self._query[place] == query]
            lines = [self._prediction_line(place, pair_badges) for place in mine]
            style = pictures.FOUND if all(line.good for line in lines) else pictures.FALSE_ALARM
            drawn.append(_drawn(self._human[mine[0]], self._object[mine[0]], badge, style))
            entries.append((badge, lines))
        return drawn, entries

    def _truth_line(self, row: int, query_badges: dict[int, str]) -> Line:
        name = self._names[self._matches.pairs.hoi_of_row[row]]
        if self._finder[row] >= 0:
            badge = query_badges[self._query[self._finder[row]]]
            return Line(name, None, True, f"found by {badge}")
        return Line(name, None, False, f"missed: {self._cut.miss_reason[row]}")

    def _prediction_line(self, place: int, pair_badges: dict[int, str]) -> Line:
        name, score = self._names[self._hoi[place]], float(self._matches.scores[place])
        badge = pair_badges.get(int(self._matches.covered_pair[place]))
        reason = self._matches.reason[place]
        if reason == FOUND:
            return Line(name, score, True, f"finds {badge}")
        where = "" if reason == NO_PAIR else f" {'of' if reason == DUPLICATE else 'for'} {badge}"
        return Line(name, score, False, f"false alarm: {reason}{where}")


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


def _drawn(human: np.ndarray, object_: np.ndarray, badge: str, style: Style) -> DrawnPair:
    missing = bool(np.isnan(object_).any())
    return DrawnPair(human.tolist(), None if missing else object_.tolist(), badge, style)


def _panel(
    image: Image.Image, drawn: list[DrawnPair], entries: list[tuple[str, list[Line]]], what: str
) -> Panel:
    picture = pictures.draw_pairs(image, drawn)
    uri = "data:image/jpeg;base64," + base64.b64encode(pictures.jpeg(picture)).decode()
    words = "; ".join(
        f"{badge}, {line.name}, {line.remark}" for badge, lines in entries for line in lines
    )
    return Panel(uri, picture.width, picture.height, f"{what}: {words or 'no pair'}.", entries)
