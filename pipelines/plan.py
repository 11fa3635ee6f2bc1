"""Plans of sweeps: `sweeps/<plan>.yaml` lists which experiments a comparison needs.

A plan has axes, each a mapping from a label to what it switches. Its experiments are the products
of the axes' labels that `cases` names (each case may narrow axes; without cases, all products),
once for each seed.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.errors import PipelineError
from pipelines.params import read_overlay, renamed_keys

FOLDER = "sweeps"
_LABEL = re.compile(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*")
_PLAN_KEYS = ("about", "seeds", "shared", "axes", "cases", "gather")


@dataclass(frozen=True)
class Switches:
    """What a row of a plan is; every field may be left out of the file.

    Attributes:
        title: how tables name the row.
        what: the row in words.
        profile: of `params/`, applied first; `{AXIS}` in it is that axis's label.
        scale: keys of params.yaml and the factors on their values; whole numbers stay whole, at
            least 1, rounded down.
        add: keys and what is added to their values.
        set: keys and values.
        target: stages to reproduce; none: as `dvc repro`.
        then: a command that runs after them; what it writes may be kept.
        code: files and folders of code that `then` runs; its results are kept while they stay.
        keep: names in the result, and where they are read: `FILE` or `FILE:KEY.KEY` of JSON or
            YAML, with `{method}` for the chosen one. A file that is absent gives null.
        fresh: whether the method's own stages are run whether up to date or not, for their time.
    """

    title: str = ""
    what: str = ""
    profile: str | None = None
    scale: Mapping[str, float] = field(default_factory=dict)
    add: Mapping[str, float] = field(default_factory=dict)
    set: Mapping[str, Any] = field(default_factory=dict)
    target: tuple[str, ...] = ()
    then: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    keep: Mapping[str, str] = field(default_factory=dict)
    fresh: bool = False


@dataclass(frozen=True)
class Experiment:
    """One row of a plan with one seed.

    Attributes:
        plan: the plan's name.
        labels: of each axis.
        seed: of the training; None leaves the params' own.
        switches: what it is.
    """

    plan: str
    labels: Mapping[str, str]
    seed: int | None
    switches: Switches

    @property
    def row(self) -> str:
        """Its labels, joined; empty in a plan without axes."""
        return "-".join(self.labels.values())

    @property
    def name(self) -> str:
        """Of its result file, unique among all plans."""
        seed = None if self.seed is None else str(self.seed)
        return "-".join(filter(None, [self.plan, self.row, seed]))


@dataclass(frozen=True)
class Plan:
    """A comparison.

    Attributes:
        name: of the file.
        about: in words.
        experiments: in their order.
        gather: a command that is given the result files and writes `results/<plan>.json`; empty
            for none.
    """

    name: str
    about: str
    experiments: tuple[Experiment, ...]
    gather: tuple[str, ...] = ()


def plan_names(root: str | Path) -> list[str]:
    """Names of the plans in `root/sweeps/`, sorted."""
    return sorted(path.stem for path in Path(root, FOLDER).glob("*.yaml"))


def read_plan(root: str | Path, name: str, seeds: Sequence[int] | None = None) -> Plan:
    """Reads a plan.

    Args:
        root: the project's folder.
        name: of the plan.
        seeds: instead of those of the file.

    Raises:
        PipelineError: there is no such plan, or its file says what no plan can.
    """
    if name not in plan_names(root):
        listed = ", ".join(plan_names(root)) or "none"
        raise PipelineError(f"no plan {name!r}. Plans in {FOLDER}/: {listed}")
    path = Path(FOLDER, f"{name}.yaml")
    content = read_overlay(Path(root, path), str(path))
    _check_keys(content, _PLAN_KEYS, str(path))
    axes = _section(content.get("axes"), f"{path}: axes")
    shared = content.get("shared") or {}
    found = []
    for labels in _rows(axes, content.get("cases") or [{}], str(path)):
        switches = _switches(shared, f"{path}: shared")
        for axis, label in labels.items():
            place = f"{path}: axes.{axis}.{label}"
            switches = _over(switches, _switches(axes[axis][label] or {}, place))
        switches = _named_profile(switches, labels, str(path))
        listed_seeds = seeds if seeds is not None else content.get("seeds") or [None]
        found += [Experiment(name, labels, _seed(seed, str(path)), switches)
                  for seed in listed_seeds]  # fmt: skip
    names = [experiment.name for experiment in found]
    if twice := sorted({each for each in names if names.count(each) > 1}):
        raise PipelineError(f"{path}: two experiments are named {twice[0]}. Give another label")
    gather = tuple(str(content.get("gather") or "").split())
    return Plan(name, " ".join(str(content.get("about", "")).split()), tuple(found), gather)


def only(plan: Plan, chosen: Sequence[str]) -> Plan:
    """The part of a plan whose labels are among the chosen ones.

    Args:
        plan: the plan.
        chosen: `AXIS=LABEL,LABEL` each; an axis that none names keeps all its labels.

    Raises:
        PipelineError: not of that form, no such axis or label, or nothing is left.
    """
    experiments = plan.experiments
    for choice in chosen:
        axis, _, text = choice.partition("=")
        labels = set(text.split(","))
        known = {each.labels[axis] for each in plan.experiments if axis in each.labels}
        if not known or not labels <= known:
            axes = sorted({f"{a}={','.join(sorted({e.labels[a] for e in plan.experiments}))}"
                           for e in plan.experiments for a in e.labels})  # fmt: skip
            raise PipelineError(
                f"only {choice!r}: plan {plan.name} has {'; '.join(axes) or 'no axes'}"
            )
        experiments = tuple(each for each in experiments if each.labels[axis] in labels)
    if not experiments:
        raise PipelineError(f"only {' '.join(chosen)!r}: plan {plan.name} has no such experiment")
    return dataclasses.replace(plan, experiments=experiments)


def changes_of(switches: Switches, params: Mapping[str, Any]) -> dict[str, Any]:
    """The dotted keys that a row changes, `scale` and `add` worked out of `params`.

    Raises:
        PipelineError: what is to be scaled is absent or no number.
    """
    changed: dict[str, Any] = {}
    for key, factor in switches.scale.items():
        value = _number(params, key)
        whole = isinstance(value, int)
        changed[key] = max(1, math.floor(value * factor + 1e-9)) if whole else value * factor
    for key, term in switches.add.items():
        changed[key] = changed.get(key, _number(params, key)) + term
    return {**changed, **switches.set}


def _number(params: Mapping[str, Any], key: str) -> int | float:
    value: Any = params
    for name in key.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    if value is None and (now := renamed_keys().get(key)):
        raise PipelineError(f"params.yaml: no key {key}. It is called {now} now")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PipelineError(f"{key}: {value!r} in params.yaml is no number, so it has no multiple")
    return value


def _rows(axes: Mapping[str, Mapping[str, Any]], cases: Any, path: str) -> Iterator[dict[str, str]]:
    if not isinstance(cases, list) or not all(isinstance(case, dict) for case in cases):
        raise PipelineError(f"{path}: cases: not a list of AXIS: [LABEL, ...]")
    for case in cases:
        _check_keys(case, tuple(axes), f"{path}: cases")
        chosen = []
        for axis, labels in axes.items():
            wanted = case.get(axis, list(labels))
            if not isinstance(wanted, list) or (set(map(str, wanted)) - set(labels)):
                known = ", ".join(labels)
                raise PipelineError(f"{path}: cases: {axis}: {wanted!r}, expected some of {known}")
            chosen.append([(axis, str(label)) for label in wanted])
        yield from map(dict, itertools.product(*chosen))


def _switches(value: Any, place: str) -> Switches:
    known = {each.name: each for each in dataclasses.fields(Switches)}
    _check_keys(value, tuple(known), place)
    made: dict[str, Any] = {}
    for name, given in value.items():
        if name in ("target", "code"):
            made[name] = tuple(given) if isinstance(given, list) else (str(given),)
        elif name == "then":
            made[name] = tuple(str(given).split())
        elif name in ("scale", "add", "set", "keep"):
            made[name] = _section(given, f"{place}.{name}")
        else:
            made[name] = given
    return Switches(**made)


def _named_profile(switches: Switches, labels: Mapping[str, str], path: str) -> Switches:
    if switches.profile is None:
        return switches
    try:
        profile = switches.profile.format_map(labels)
    except (KeyError, ValueError, AttributeError):
        axes = ", ".join(f"{{{axis}}}" for axis in labels) or "no axis"
        raise PipelineError(f"{path}: profile {switches.profile!r}, expected {axes}") from None
    return dataclasses.replace(switches, profile=profile)


def _over(below: Switches, above: Switches) -> Switches:
    """`above` over `below`: mappings are joined, anything else that `above` states is taken."""
    made: dict[str, Any] = {}
    for each in dataclasses.fields(Switches):
        old, new = getattr(below, each.name), getattr(above, each.name)
        made[each.name] = {**old, **new} if isinstance(new, Mapping) else new or old
    return Switches(**made)


def _section(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict | None):
        raise PipelineError(f"{place}: {value!r}, expected a section")
    found = {str(key): item for key, item in (value or {}).items()}
    if place.endswith(": axes"):
        for axis, labels in found.items():
            found[axis] = _section(labels, f"{place}.{axis}")
            for label in (axis, *found[axis]):
                if not _LABEL.fullmatch(label):
                    raise PipelineError(f"{place}: {label!r}, expected letters, digits, '-._'")
    return found


def _seed(seed: Any, path: str) -> int | None:
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or seed < 0):
        raise PipelineError(f"{path}: seeds: {seed!r}, expected whole numbers, 0 or more")
    return seed


def _check_keys(value: Any, known: Sequence[str], place: str) -> None:
    if not isinstance(value, Mapping):
        raise PipelineError(f"{place}: {value!r}, expected a section")
    if unknown := [str(key) for key in value if key not in known]:
        raise PipelineError(f"{place}: no key {unknown[0]!r}. Known: {', '.join(known)}")
