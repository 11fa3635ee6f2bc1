"""What each verb looks like: a pose and a placement of the object, the same for all objects.

Everything is in person heights, feet on y = 0, facing right.
"""

import math
from collections.abc import Collection
from dataclasses import replace

import numpy as np

from hoiclip.toy.people import (
    BEHIND,
    BODY,
    FRONT,
    REACH,
    Pose,
    draw_person,
    sample_look,
    shoulder_of,
)
from hoiclip.toy.shapes import Layer, Point, Shape, extent, transform
from hoiclip.toy.things import make_thing

# Upright they are too tall and thin to be sat on or jumped over: lay them down for that.
_LYING = ("guitar",)
_BESIDE_GAP = (0.04, 0.13)  # between the boxes of a person and the object of no interaction


def _offset(p: Point, dx: float, dy: float) -> Point:
    return p[0] + dx, p[1] + dy


def _standing(
    rng: np.random.Generator,
    hip: Point = (0.0, -0.465),
    *,
    lean: float | None = None,
    **changes: Point,
) -> Pose:
    # Drawn in any case, so that what follows does not depend on who states the lean.
    sway = rng.uniform(-3, 3)
    lean = sway if lean is None else lean
    shoulder = shoulder_of(hip, lean)
    stance = rng.uniform(0.03, 0.07)
    pose = {
        "near_hand": _offset(shoulder, 0.0, 0.345),
        "far_hand": _offset(shoulder, 0.06, 0.34),
        "near_foot": (hip[0] - stance, 0.0),
        "far_foot": (hip[0] + stance, 0.0),
    }
    return Pose(hip=hip, lean=lean, **(pose | changes))


def _carry(rng: np.random.Generator, w: float, h: float) -> tuple[Pose, Point]:
    shoulder = shoulder_of((0.0, -0.465), -6.0)
    bottom = shoulder[1] + 0.17 + 0.5 * max(0.0, h - 0.35)
    x = shoulder[0] + 0.07 + w / 2
    reach = min(x, shoulder[0] + 0.27)
    hands = {
        "near_hand": (reach, min(bottom - 0.01, shoulder[1] + 0.2)),
        "far_hand": (reach + 0.03, min(bottom, shoulder[1] + 0.2)),
    }
    feet = {"near_foot": (-0.11, 0.0), "far_foot": (0.12, 0.0)}
    return _standing(rng, lean=-6.0, **hands, **feet), (x, bottom)


def _hold(rng: np.random.Generator, w: float, h: float) -> tuple[Pose, Point]:
    shoulder = shoulder_of((0.0, -0.465), 0.0)
    hand = _offset(shoulder, REACH * 0.98, rng.uniform(0.0, 0.05))
    x = max(hand[0], shoulder[0] + 0.16 + w / 2)
    bottom = min(hand[1] + h - 0.02, -0.03)
    return _standing(rng, lean=0.0, near_hand=hand), (x, bottom)


def _jump_over(rng: np.random.Generator, w: float, h: float) -> tuple[Pose, Point]:
    hip = (0.0, -(h + rng.uniform(0.30, 0.38)))
    lean = rng.uniform(4, 12)
    shoulder = shoulder_of(hip, lean)
    pose = Pose(
        hip,
        lean,
        near_hand=_offset(shoulder, -0.24, -0.18),
        far_hand=_offset(shoulder, 0.25, -0.2),
        near_foot=_offset(hip, -0.12, 0.22),
        far_foot=_offset(hip, 0.08, 0.25),
    )
    return pose, (rng.uniform(-0.04, 0.04), 0.0)


def _kick(rng: np.random.Generator, w: float, h: float) -> tuple[Pose, Point]:
    lean = rng.uniform(-20, -12)
    shoulder = shoulder_of((0.0, -0.465), lean)
    foot = (0.39, -0.2 + rng.uniform(-0.03, 0.02))
    pose = _standing(
        rng,
        lean=lean,
        near_hand=_offset(shoulder, -0.2, 0.22),
        far_hand=_offset(shoulder, 0.26, 0.12),
        near_foot=foot,
        far_foot=(-0.05, 0.0),
    )
    return pose, (foot[0] + 0.07 + w / 2, min(0.0, foot[1] + h / 2) - 0.04)


def _lift(rng: np.random.Generator, w: float, h: float) -> tuple[Pose, Point]:
    shoulder = shoulder_of((0.0, -0.465), 0.0)
    half = min(0.1, w / 2)
    hands = {
        "near_hand": _offset(shoulder, -half, -0.29),
        "far_hand": _offset(shoulder, half + 0.02, -0.29),
    }
    feet = {"near_foot": (-0.1, 0.0), "far_foot": (0.1, 0.0)}
    return _standing(rng, lean=0.0, **hands, **feet), (shoulder[0] + 0.01, shoulder[1] - 0.28)


def _push(rng: np.random.Generator, w: float, h: float) -> tuple[Pose, Point]:
    lean = 32 + 38 * min(1.0, max(0.0, (0.5 - h) / 0.35))  # stoop to low objects
    hip = (0.0, -0.42)
    shoulder = shoulder_of(hip, lean)
    height = -min(max(0.75 * h, 0.17), 0.5)
    drop = height - shoulder[1] - 0.03
    reach = math.sqrt(max(REACH**2 - drop**2, 0.12**2))
    hand = (shoulder[0] + reach, height)
    pose = Pose(hip, lean, hand, _offset(hand, 0.0, 0.03), (-0.22, 0.0), (0.1, 0.0))
    return pose, (hand[0] + w / 2, 0.0)


def _sit_on(seat: Point) -> Pose:
    hip = (seat[0], seat[1] - 0.06)
    knee = _offset(hip, 0.2, -0.08)
    foot = (hip[0] + 0.26, min(0.0, hip[1] + 0.25))
    return Pose(hip, -4.0, knee, _offset(knee, 0.03, -0.01), foot, _offset(foot, 0.06, 0.0))


def make_pair(
    rng: np.random.Generator, verbs: Collection[str], name: str
) -> tuple[tuple[Layer, ...], tuple[Layer, ...]]:
    """The layers of a person and of the named object joined by one verb, or by sit_on and hold."""
    thing = make_thing(name, rng)
    size = rng.uniform(0.9, 1.12)
    (verb, *_) = sorted(verbs, reverse=True)  # sit_on before hold
    lying = name in _LYING and verb in ("sit_on", "jump_over")
    airborne = verb in ("carry", "hold", "lift", "kick")
    # A seat's back belongs behind its user, so sitting and pushing keep the object's direction.
    mirror = verb not in ("sit_on", "push") and bool(rng.random() < 0.5)
    turn = 90.0 if lying else rng.uniform(-10, 10) * airborne
    shapes = transform(thing.shapes, scale=size, mirror=mirror, degrees=turn)
    x0, y0, x1, y1 = extent(shapes)
    shapes = transform(shapes, offset=(-(x0 + x1) / 2, -y1))  # bottom centre on the origin
    w, h = x1 - x0, y1 - y0

    depth, at = FRONT, (0.0, 0.0)
    if verb == "sit_on":
        seat = (0.0, -h) if lying else (thing.seat[0] * size - (x0 + x1) / 2, thing.seat[1] * size)
        pose = _sit_on(seat)
        if "hold" in verbs:  # a straight arm gripping the object behind the seat
            shoulder = shoulder_of(pose.hip, -14.0)
            grip = (max(-w / 2 + 0.02, shoulder[0] - 0.16), seat[1] + 0.04)
            pose = replace(pose, lean=-14.0, near_hand=grip)
        depth = BEHIND - 1
    elif verb == "no_interaction":
        pose = _standing(rng)
        depth = BEHIND - 1
    else:
        place = {"carry": _carry, "hold": _hold, "jump_over": _jump_over, "kick": _kick,
                 "lift": _lift, "push": _push}[verb]  # fmt: skip
        pose, at = place(rng, w, h)
        if verb in ("jump_over", "lift"):
            depth = (BEHIND + BODY) / 2
    person = draw_person(pose, sample_look(rng))
    if verb == "no_interaction":
        px0, _, px1, _ = extent(s for layer in person for s in layer.shapes)
        gap = rng.uniform(*_BESIDE_GAP) + w / 2
        at = (px1 + gap, 0.0) if rng.random() < 0.5 else (px0 - gap, 0.0)
    return person, (Layer(depth, transform(shapes, offset=at)),)


def make_bystander(rng: np.random.Generator) -> tuple[Layer, ...]:
    """A person who does nothing with any object: at ease, walking, waving or cheering."""
    shoulder = shoulder_of((0.0, -0.465), 0.0)
    kind = rng.integers(4)
    changes: dict[str, Point] = {}
    if kind == 1:
        changes = {
            "near_foot": (-0.16, 0.0),
            "far_foot": (0.14, 0.0),
            "near_hand": _offset(shoulder, 0.15, 0.33),
            "far_hand": _offset(shoulder, -0.15, 0.33),
        }
    elif kind == 2:
        changes = {"far_hand": _offset(shoulder, 0.18, -0.22)}
    elif kind == 3:
        changes = {
            "near_hand": _offset(shoulder, -0.18, -0.24),
            "far_hand": _offset(shoulder, 0.2, -0.24),
        }
    return draw_person(_standing(rng, lean=0.0, **changes), sample_look(rng))


def make_idle(rng: np.random.Generator, name: str) -> tuple[Shape, ...]:
    """An object standing on the ground on its own."""
    thing = make_thing(name, rng)
    lying = name in _LYING and rng.random() < 0.5
    shapes = transform(
        thing.shapes,
        scale=rng.uniform(0.9, 1.12),
        mirror=bool(rng.random() < 0.5),
        degrees=90.0 if lying else 0.0,
    )
    return transform(shapes, offset=(0.0, -extent(shapes)[3]))
