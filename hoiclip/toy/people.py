"""Articulated people as flat shapes, in person heights, feet on y = 0, facing right.

A pose is where the hips, hands and feet are; elbows and knees follow by two-bone inverse
kinematics, so a hand is where the interaction needs it whatever the body's proportions.
"""

import math
from dataclasses import dataclass

import numpy as np

from hoiclip.toy.shapes import Colour, Layer, Point, arc, disc, polygon, shade, stroke
from hoiclip.toy.things import vivid

THIGH, SHIN, TORSO = 0.24, 0.235, 0.29
UPPER_ARM, FOREARM = 0.165, 0.165
REACH = UPPER_ARM + FOREARM

# Depths inside a pair: far limbs and body, then what is carried in front of it, then the near arm.
BEHIND, BODY, FRONT, NEAR_ARM = 0.0, 1.0, 2.0, 3.0

_SKIN = (
    (255, 224, 196),
    (241, 194, 155),
    (224, 172, 125),
    (190, 130, 90),
    (141, 85, 54),
    (98, 60, 42),
)
_HAIR = ((35, 25, 22), (75, 45, 25), (130, 80, 35), (215, 170, 85), (180, 75, 35), (150, 150, 155))


@dataclass(frozen=True, slots=True)
class Pose:
    """Hips and the targets of hands and feet; `lean` is the torso's forward angle in degrees."""

    hip: Point
    lean: float
    near_hand: Point
    far_hand: Point
    near_foot: Point
    far_foot: Point


@dataclass(frozen=True, slots=True)
class Look:
    """Colours and build of one person; `girth` scales the limbs' width."""

    skin: Colour
    hair: Colour
    shirt: Colour
    trousers: Colour
    shoes: Colour
    girth: float
    long_hair: bool
    short_sleeves: bool
    shorts: bool


def sample_look(rng: np.random.Generator) -> Look:
    """Random colours and build."""
    return Look(
        skin=_SKIN[rng.integers(len(_SKIN))],
        hair=_HAIR[rng.integers(len(_HAIR))],
        shirt=vivid(rng),
        trousers=shade(vivid(rng), 0.75),
        shoes=shade(vivid(rng), 0.6),
        girth=rng.uniform(0.88, 1.2),
        long_hair=bool(rng.random() < 0.4),
        short_sleeves=bool(rng.random() < 0.5),
        shorts=bool(rng.random() < 0.35),
    )


def shoulder_of(hip: Point, lean: float) -> Point:
    """The shoulder above `hip` with the torso leaning forward by `lean` degrees."""
    a = math.radians(lean)
    return hip[0] + TORSO * math.sin(a), hip[1] - TORSO * math.cos(a)


def _two_bones(root: Point, target: Point, a: float, b: float, side: float) -> tuple[Point, Point]:
    """The middle joint and the end of a limb from `root` towards `target`, bent to `side`."""
    dx, dy = target[0] - root[0], target[1] - root[1]
    distance = math.hypot(dx, dy) or 1e-9
    ux, uy = dx / distance, dy / distance
    distance = min(max(distance, abs(a - b) + 1e-6, 0.3 * (a + b)), a + b)
    along = (a * a - b * b + distance * distance) / (2 * distance)
    off = side * math.sqrt(max(a * a - along * along, 0.0))
    middle = (root[0] + ux * along - uy * off, root[1] + uy * along + ux * off)
    return middle, (root[0] + ux * distance, root[1] + uy * distance)


def _leg(look: Look, hip: Point, foot: Point, dim: float) -> tuple:
    w = 0.095 * look.girth
    knee, ankle = _two_bones(hip, (foot[0], foot[1] - 0.03), THIGH, SHIN, -1.0)
    cloth, skin = shade(look.trousers, dim), shade(look.skin, dim)
    shoe = stroke(shade(look.shoes, dim), 0.06, ankle, (ankle[0] + 0.06, ankle[1]))
    return (
        stroke(skin if look.shorts else cloth, 0.8 * w, knee, ankle),
        stroke(cloth, w, hip, knee),
        shoe,
    )


def _arm(look: Look, shoulder: Point, hand: Point, dim: float) -> tuple:
    w = 0.072 * look.girth
    elbow, wrist = _two_bones(shoulder, hand, UPPER_ARM, FOREARM, 1.0)
    cloth, skin = shade(look.shirt, dim), shade(look.skin, dim)
    return (
        stroke(skin if look.short_sleeves else cloth, 0.85 * w, elbow, wrist),
        stroke(cloth, w, shoulder, elbow),
        disc(skin, wrist, 0.042),
    )


def draw_person(pose: Pose, look: Look) -> tuple[Layer, ...]:
    """The person's layers at the depths `BEHIND`, `BODY` and `NEAR_ARM`."""
    hip, shoulder = pose.hip, shoulder_of(pose.hip, pose.lean)
    tilt = math.radians(0.4 * pose.lean)
    head = (shoulder[0] + 0.13 * math.sin(tilt) + 0.01, shoulder[1] - 0.13 * math.cos(tilt))
    x, y = head
    waist = (0.75 * hip[0] + 0.25 * shoulder[0], 0.75 * hip[1] + 0.25 * shoulder[1])
    hair = [
        polygon(look.hair, *arc(head, (0.108, 0.108), 140, 330, 12), (x + 0.03, y - 0.035),
                (x - 0.035, y)),
    ]  # fmt: skip
    if look.long_hair:
        hair.append(stroke(look.hair, 0.06, (x - 0.075, y - 0.02), (x - 0.085, y + 0.10)))
    body = (
        *_leg(look, (hip[0] - 0.01, hip[1]), pose.far_foot, 0.72),
        *_leg(look, hip, pose.near_foot, 1.0),
        stroke(look.skin, 0.06, shoulder, head),
        disc(look.trousers, hip, 0.07 * look.girth),
        stroke(look.shirt, 0.155 * look.girth, waist, (shoulder[0], shoulder[1] + 0.03)),
        disc(look.skin, head, 0.1),
        *hair,
        disc((30, 25, 25), (x + 0.055, y), 0.016),
        stroke(shade(look.skin, 0.6), 0.014, (x + 0.04, y + 0.05), (x + 0.075, y + 0.045)),
    )
    near = (shoulder[0], shoulder[1] + 0.03)
    return (
        Layer(BEHIND, _arm(look, near, pose.far_hand, 0.72)),
        Layer(BODY, body),
        Layer(NEAR_ARM, _arm(look, near, pose.near_hand, 1.0)),
    )
