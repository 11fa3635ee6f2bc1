"""The toy world's vocabulary and its scenes: who does what with which object, and where.

Lengths are pixels of a 128 x 128 image, x to the right, y down. An HOI class is a
(verb, object) pair of indices into `VERBS` and `OBJECTS`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hoiclip.toy import interactions, things
from hoiclip.toy.shapes import OUTLINE, Layer, extent, transform

SIZE = 128  # pixels; the side of the square image a scene is laid out in

OBJECTS: tuple[str, ...] = ("person", *things.NAMES)


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb and its -ing phrase for captions; `no_interaction` has none."""

    name: str
    phrase: str | None


VERBS: tuple[Verb, ...] = (
    Verb("carry", "carrying"),
    Verb("hold", "holding"),
    Verb("jump_over", "jumping over"),
    Verb("kick", "kicking"),
    Verb("lift", "lifting"),
    Verb("no_interaction", None),
    Verb("push", "pushing"),
    Verb("sit_on", "sitting on"),
)

_HOI_VERBS: dict[str, str] = {
    "ball": "carry hold jump_over kick no_interaction",
    "bench": "hold jump_over no_interaction push sit_on",
    "bicycle": "hold lift no_interaction push sit_on",
    "chair": "hold kick push sit_on",
    "dog": "carry jump_over lift no_interaction",
    "guitar": "carry hold lift",
    "kite": "hold jump_over lift no_interaction",
    "skateboard": "carry hold jump_over kick sit_on",
    "suitcase": "carry kick no_interaction push sit_on",
    "umbrella": "carry hold kick no_interaction",
}
_VERB_INDEX = {verb.name: i for i, verb in enumerate(VERBS)}
_HOLD, _SIT_ON = _VERB_INDEX["hold"], _VERB_INDEX["sit_on"]

HOIS: tuple[tuple[int, int], ...] = tuple(
    (_VERB_INDEX[verb], OBJECTS.index(name))
    for name, verbs in _HOI_VERBS.items()
    for verb in verbs.split()
)
"""The 44 (verb index, object index) classes, by object, then verb."""

ALL_COMBINATIONS: tuple[tuple[int, int], ...] = tuple(
    (verb, category) for category in range(1, len(OBJECTS)) for verb in range(len(VERBS))
)
"""All 80 (verb index, object index) combinations, by object, then verb."""

_RARE = (
    "carry umbrella", "hold ball", "hold kite", "jump_over dog", "jump_over kite", "kick chair",
    "kick suitcase", "lift bicycle", "lift guitar", "push bench", "no_interaction umbrella",
    "carry skateboard",
)  # fmt: skip
_RARE_WEIGHT = 3.0 / 6000  # 3,000 training scenes have about 6,000 pairs

# Person heights between the boxes, sideways or up and down, of a person and any object of no pair
# with that person: well above what `no_interaction` leaves between the two.
GAP = 0.35
GROUP_GAP = 0.06  # person heights between entities of different pairs otherwise
_HIGHEST_GROUND = 0.46 * SIZE  # feet stand on the ground of every background, not in its sky
_SIT_AND_HOLD = 0.15  # probability that a sitting person also grips what they sit on


@dataclass(frozen=True, slots=True)
class Entity:
    """A person or an object, drawn.

    category: index into `OBJECTS`. layers: its shapes in pixels. box: x0, y0, x1, y1 in pixels,
    tight around the whole entity, not clipped to the image.
    """

    category: int
    layers: tuple[Layer, ...]
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Pair:
    """`human` and `object` index `Scene.entities`, `verbs` (ascending) index `VERBS`."""

    human: int
    object: int
    verbs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Scene:
    """Entities, all of them; the annotated pairs; and the background's kind and seed."""

    entities: tuple[Entity, ...]
    pairs: tuple[Pair, ...]
    background: int
    background_seed: int


_Group = tuple[list[Entity], tuple[int, ...]]  # entities with feet on (0, 0), and the pair's verbs


def train_weights() -> np.ndarray:
    """Long-tailed probabilities, float64 (44,), over `HOIS`: Zipf-like with 12 rare classes."""
    names = [f"{VERBS[v].name} {OBJECTS[o]}" for v, o in HOIS]
    # A fixed shuffle, so that frequency is not tied to one object or verb.
    ranks = np.random.default_rng(4).permutation(len(HOIS))
    weights = 1.0 / (ranks + 4.0) ** 0.8
    rare = np.array([name in _RARE for name in names])
    weights[~rare] *= (1 - rare.sum() * _RARE_WEIGHT) / weights[~rare].sum()
    weights[rare] = _RARE_WEIGHT
    return weights


def test_weights() -> np.ndarray:
    """Flatter probabilities, float64 (44,), over `HOIS`: 800 scenes give every class its share."""
    weights = train_weights() ** 0.25
    return weights / weights.sum()


def sample_scene(
    rng: np.random.Generator,
    combinations: Sequence[tuple[int, int]],
    weights: np.ndarray,
    *,
    max_people: int = 5,
    required: tuple[int, int] | None = None,
) -> Scene:
    """A scene with one to four pairs, bystanders and idle objects.

    combinations: (verb, object) indices to draw from, with probabilities `weights`, (n,), sum 1.
    max_people: 1 to 5. required: a combination that the scene surely shows.
    """
    num_pairs = min(1 + rng.choice(4, p=(0.2, 0.35, 0.3, 0.15)), max_people)
    num_bystanders = min(rng.choice(3, p=(0.6, 0.28, 0.12)), max_people - num_pairs)
    num_idle = rng.choice(3, p=(0.5, 0.3, 0.2))
    crowd = num_pairs + 0.6 * num_bystanders + 0.5 * num_idle
    height = rng.uniform(0.92, 1.06) * np.clip(68 - 8 * (crowd - 1), 45, 64)

    allowed = set(combinations)
    chosen = [combinations[i] for i in rng.choice(len(combinations), num_pairs, p=weights)]
    if required is not None:
        chosen[0] = required
    placed: list[_Group] = []
    for combination in chosen:
        for attempt in range(4):  # the first pair surely fits once it has shrunk a little
            group = _pair_group(rng, combination, allowed, height * 0.95**attempt)
            if _place(rng, placed, group, height):
                break
    for _ in range(num_bystanders):
        person = _entity(0, interactions.make_bystander(rng), height, rng)
        _place(rng, placed, ([person], ()), height)
    for _ in range(num_idle):
        category = int(rng.integers(1, len(OBJECTS)))
        layer = Layer(0.0, interactions.make_idle(rng, OBJECTS[category]))
        _place(rng, placed, ([_entity(category, (layer,), height, rng)], ()), height)

    entities: list[Entity] = []
    pairs: list[Pair] = []
    for members, verbs in placed:
        if verbs:
            pairs.append(Pair(len(entities), len(entities) + 1, verbs))
        entities += members
    return Scene(tuple(entities), tuple(pairs), int(rng.integers(2**16)), int(rng.integers(2**31)))


def sample_corpus(
    rng: np.random.Generator,
    num_scenes: int,
    combinations: Sequence[tuple[int, int]],
    weights: np.ndarray,
    minimum: int,
) -> Iterator[Scene]:
    """`num_scenes` scenes in which every combination occurs at least `minimum` times."""
    required = [c for c in combinations for _ in range(minimum)]
    if len(required) > num_scenes:
        raise ValueError(f"{num_scenes} scenes cannot show {len(required)} required combinations")
    schedule = required + [None] * (num_scenes - len(required))
    for i in rng.permutation(num_scenes):
        yield sample_scene(rng, combinations, weights, required=schedule[i])


def _pair_group(
    rng: np.random.Generator,
    combination: tuple[int, int],
    allowed: set[tuple[int, int]],
    height: float,
) -> _Group:
    verb, category = combination
    verbs: tuple[int, ...] = (verb,)
    if verb == _SIT_ON and (_HOLD, category) in allowed and rng.random() < _SIT_AND_HOLD:
        verbs = (_HOLD, _SIT_ON)
    person, thing = interactions.make_pair(rng, [VERBS[v].name for v in verbs], OBJECTS[category])
    mirror = bool(rng.random() < 0.5)
    height *= rng.uniform(0.94, 1.06)
    return [
        _scaled(0, person, height, mirror),
        _scaled(category, thing, height, mirror),
    ], verbs


def _entity(
    category: int, layers: tuple[Layer, ...], height: float, rng: np.random.Generator
) -> Entity:
    return _scaled(category, layers, height * rng.uniform(0.94, 1.06), bool(rng.random() < 0.5))


def _scaled(category: int, layers: tuple[Layer, ...], height: float, mirror: bool) -> Entity:
    layers = tuple(
        Layer(layer.depth, transform(layer.shapes, scale=height, mirror=mirror)) for layer in layers
    )
    return Entity(category, layers, extent((s for la in layers for s in la.shapes), OUTLINE))


def _moved(entity: Entity, dx: float, dy: float) -> Entity:
    # Lower on the image is nearer: entities further down are drawn later.
    layers = tuple(
        Layer(100 * dy + layer.depth, transform(layer.shapes, offset=(dx, dy)))
        for layer in entity.layers
    )
    x0, y0, x1, y1 = entity.box
    return Entity(entity.category, layers, (x0 + dx, y0 + dy, x1 + dx, y1 + dy))


def _place(rng: np.random.Generator, placed: list[_Group], group: _Group, height: float) -> bool:
    """Move the group to a free spot and append it to `placed`; False if none was found."""
    members, verbs = group
    boxes = np.array([entity.box for entity in members])
    low, high = boxes[:, :2].min(0), boxes[:, 2:].max(0)
    # A sliver may leave the image sideways, less than a tenth of any member.
    sliver = np.array((0.09 * (boxes[:, 2] - boxes[:, 0]).min(), 0.0))
    start, stop = -sliver - low, SIZE + sliver - high
    start[1] = max(start[1], min(_HIGHEST_GROUND, stop[1]))
    if (start > stop).any():
        return False
    others = [(e, e.box) for other, _ in placed for e in other]
    rivals = np.array([box for _, box in others]).reshape(-1, 1, 1, 4)
    # Only a person and an object can be mistaken for a pair.
    mixed = np.array(
        [[(e.category == 0) != (m.category == 0) for m in members] for e, _ in others], dtype=bool
    ).reshape(len(others), 1, len(members))
    needed = np.where(mixed, GAP, GROUP_GAP) * height * 1.06
    shifts = rng.uniform(start, stop, (150, 2))
    moved = boxes[None] + np.tile(shifts, 2)[:, None]
    apart = np.maximum(
        np.maximum(rivals[..., 0] - moved[..., 2], moved[..., 0] - rivals[..., 2]),
        np.maximum(rivals[..., 1] - moved[..., 3], moved[..., 1] - rivals[..., 3]),
    )
    free = (apart >= needed).all(axis=(0, 2))
    if not free.any():
        return False
    dx, dy = shifts[int(free.argmax())].tolist()
    placed.append(([_moved(entity, dx, dy) for entity in members], verbs))
    return True
