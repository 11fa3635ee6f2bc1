"""The rules of docs/architecture.md, read from the source: who imports whom, and dvc.yaml."""

from __future__ import annotations

import ast
import dataclasses
from functools import cache
from pathlib import Path

import networkx as nx
import pytest
import yaml

from hoiclip.report.inputs import STAGES, ReportInputs

ROOT = Path(__file__).parents[1]
PACKAGES = ("hoiclip", "stages", "pipelines")
# Sizes of the published data sets, which the vocabulary gives.
SIZES = {600, 117, 263}
# Arguments that are lengths in pixels, of which some are equal to one of those.
PIXEL_SIZES = {"crop_scales", "crop_sides"}


def source_files(*packages: str) -> list[Path]:
    return [path for name in packages for path in sorted((ROOT / name).rglob("*.py"))]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in source_files(*PACKAGES)}


@cache
def imports(path: Path) -> frozenset[str]:
    """Modules that a file imports anywhere in it, ours as full names, others as they stand."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            # `from package import module` means the module, `from module import thing` the module.
            found |= {name if name in MODULES else node.module for name in names}
    return frozenset(found)


@cache
def closure(module: str) -> frozenset[str]:
    """Our modules that importing `module` imports, itself included."""
    found, todo = set(), [module]
    while todo:
        name = todo.pop()
        if name in MODULES and name not in found:
            found.add(name)
            todo += imports(MODULES[name])
    return frozenset(found)


def imported_by(module: str) -> set[str]:
    """First parts of everything foreign that importing `module` imports."""
    found = {name for own in closure(module) for name in imports(MODULES[own])}
    return {name.split(".")[0] for name in found} - set(PACKAGES)


def modules_of(*prefixes: str) -> list[str]:
    return [n for n in MODULES if any(n == p or n.startswith(f"{p}.") for p in prefixes)]


def test_the_closure_sees_what_is_imported():
    assert {"hoiclip.set_prediction.matcher", "hoiclip.boxes", "hoiclip.errors"} <= closure(
        "stages.train"
    )
    assert "torch" in imported_by("hoiclip.set_prediction.criterion")
    assert "hoiclip.schema" in closure("hoiclip.data.annotations")


@pytest.mark.parametrize("path", source_files("hoiclip"), ids=str)
def test_the_library_knows_neither_dvc_nor_prefect_nor_who_uses_it(path):
    foreign = {"dvc", "dvclive", "prefect", "stages", "pipelines"}
    assert not {name.split(".")[0] for name in imports(path)} & foreign


@pytest.mark.parametrize("path", source_files("pipelines"), ids=str)
def test_pipelines_know_stages_through_dvc_yaml_alone(path):
    assert not {name.split(".")[0] for name in imports(path)} & {"hoiclip", "stages"}


@pytest.mark.parametrize("path", source_files("stages"), ids=str)
def test_stages_know_the_library_alone(path):
    used = {name.split(".")[0] for name in imports(path)}
    assert not used & {"dvc", "prefect", "pipelines", "stages"}
    assert "dvclive" not in used or path.stem == "train"


@pytest.mark.parametrize(
    "module",
    modules_of("hoiclip.evaluation", "hoiclip.postprocess", "hoiclip.formats", "hoiclip.scoring"),
)
def test_evaluation_formats_and_postprocessing_need_no_torch(module):
    assert not imported_by(module) & {"torch", "torchvision", "timm", "open_clip", "safetensors"}
    assert not any(name.startswith("hoiclip.model") for name in closure(module))


def test_packages_import_nothing():
    for path in source_files(*PACKAGES):
        if path.name == "__init__.py":
            assert not imports(path), path


def test_no_module_imports_itself_in_a_circle():
    graph = nx.DiGraph((a, b) for a in MODULES for b in imports(MODULES[a]) if b in MODULES)
    assert list(nx.simple_cycles(graph)) == []


@pytest.mark.parametrize(
    ("part", "never"),
    [
        ("hoiclip.errors", "hoiclip"),
        ("hoiclip.toy", "hoiclip.data hoiclip.model hoiclip.schema hoiclip.vocabulary"),
        ("hoiclip.schema", "hoiclip.data hoiclip.model hoiclip.training"),
        ("hoiclip.config", "hoiclip.data hoiclip.model hoiclip.training hoiclip.schema"),
        ("hoiclip.data", "hoiclip.model hoiclip.training hoiclip.evaluation hoiclip.prediction"),
        (
            "hoiclip.model",
            "hoiclip.data hoiclip.training hoiclip.evaluation hoiclip.set_prediction.criterion",
        ),
        ("hoiclip.set_prediction.criterion", "hoiclip.data hoiclip.training hoiclip.evaluation"),
        ("hoiclip.evaluation", "hoiclip.training hoiclip.prediction hoiclip.postprocess"),
        ("hoiclip.prediction", "hoiclip.training"),
        ("hoiclip.training", "hoiclip.pretraining hoiclip.report"),
        ("hoiclip.report", "hoiclip.model hoiclip.training hoiclip.prediction"),
    ],
)
def test_imports_point_downwards(part, never):
    for module in modules_of(part):
        forbidden = set(modules_of(*never.split())) - set(modules_of(part))
        assert not closure(module) & forbidden, module


@pytest.mark.parametrize("path", source_files(*PACKAGES), ids=str)
def test_sizes_come_from_the_vocabulary(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    crops = [n for n in ast.walk(tree) if isinstance(n, ast.keyword) and n.arg in PIXEL_SIZES]
    pixels = {inner for crop in crops for inner in ast.walk(crop)}
    typed = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and type(node.value) is int and node not in pixels
    }
    assert not typed & SIZES


# dvc.yaml


@pytest.fixture(scope="module")
def stages() -> dict[str, dict]:
    path = ROOT / "dvc.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))["stages"]


def names_in(entries: list) -> list[str]:
    """Paths of deps or outs, which may carry options."""
    return [name for entry in entries for name in ([entry] if isinstance(entry, str) else entry)]


def outputs(stage: dict) -> list[str]:
    return [name for key in ("outs", "metrics", "plots") for name in names_in(stage.get(key, []))]


def covered(path: str, deps: list[str]) -> bool:
    return any(path == dep or path.startswith(dep.rstrip("/") + "/") for dep in deps)


def closure_files(stage: str) -> set[str]:
    """Source files of a stage; `__init__` files hold a docstring and nothing else."""
    files = {MODULES[name].relative_to(ROOT).as_posix() for name in closure(f"stages.{stage}")}
    return {name for name in files if not name.endswith("__init__.py")}


def test_every_stage_is_its_file(stages):
    assert {path.stem for path in source_files("stages") if path.stem != "__init__"} == set(stages)
    for name, stage in stages.items():
        assert stage["cmd"] == f"python -m stages.{name}"


def test_code_that_a_stage_imports_is_among_its_deps(stages):
    missing = {
        name: sorted(f for f in closure_files(name) if not covered(f, names_in(stage["deps"])))
        for name, stage in stages.items()
    }
    assert {name: files for name, files in missing.items() if files} == {}


def test_code_among_the_deps_is_imported(stages):
    """A dep that the stage does not import would rerun it for nothing."""
    surplus = {
        name: [
            dep
            for dep in names_in(stage["deps"])
            if dep.endswith(".py") and dep not in closure_files(name)
        ]
        for name, stage in stages.items()
    }
    assert {name: deps for name, deps in surplus.items() if deps} == {}


def test_nothing_before_predict_depends_on_test_data(stages):
    names = list(stages)
    for name in names[: names.index("predict")]:
        for dep in names_in(stages[name]["deps"]):
            parts = Path(dep).parts
            # The folder above would hold the test partition too.
            assert not (parts[0] == "data" and "test" in parts), (name, dep)
            assert dep not in ("data", "data/annotations", "data/images"), (name, dep)


def test_outputs_belong_to_one_stage_each(stages):
    owners = [(path, name) for name, stage in stages.items() for path in outputs(stage)]
    assert len({path for path, _ in owners}) == len(owners)
    for path, name in owners:
        others = [other for other, owner in owners if owner != name]
        assert not covered(path, others), (name, path)


def test_deps_are_outputs_of_earlier_stages_or_committed(stages):
    """An output or a part of it: a folder above one holds .gitignore files, also in a fresh clone,
    where DVC then takes it for changed and not for missing."""
    made: list[str] = []
    for name, stage in stages.items():
        for dep in names_in(stage["deps"]):
            if "${" in dep or ((ROOT / dep).exists() and not dep.startswith(("data", "runs"))):
                continue
            assert covered(dep, made) or dep == "results", (name, dep)
        made += outputs(stage)


def test_what_the_report_reads_is_among_its_deps(stages):
    deps = names_in(stages["report"]["deps"])
    inputs = ReportInputs.of_project("")
    read = [getattr(inputs, field.name).as_posix() for field in dataclasses.fields(inputs)]
    read.remove("runs")
    read += [f"runs/{stage}/summary.json" for stage in stages if stage != "report"]
    assert set(STAGES) == set(stages) - {"report"}
    assert [path for path in read if not covered(path, deps)] == []


def test_params_of_every_stage_are_in_params_yaml(stages, params):
    for name, stage in stages.items():
        for key in names_in(stage.get("params", [])):
            value = params
            for part in key.split("."):
                assert part in value, (name, key)
                value = value[part]
