"""The rules of docs/architecture.md, read from the source: who imports whom, and dvc.yaml files."""

from __future__ import annotations

import ast
import dataclasses
import re
import shutil
import subprocess
import sys
from pathlib import Path

import networkx as nx
import pytest
from code_deps import (
    METHODS,
    MODULES,
    PACKAGES,
    ROOT,
    closure,
    closure_files,
    code_deps,
    imports,
    is_code,
    module_name,
    read_stages,
    source_files,
)

from hoiclip.methods.registry import method_named
from hoiclip.methods.summary import method_file
from hoiclip.report.inputs import AFTER, BEFORE, ReportInputs
from hoiclip.resume.source_code import CANNOT_CHANGE_A_RESULT

# Sizes of the published data sets, which the vocabulary gives.
SIZES = {600, 117, 263}
# Arguments that are lengths in pixels, of which some are equal to one of those.
PIXEL_SIZES = {"crop_scales", "crop_sides"}
# Outside its own folder, all that may know a method by its name.
KNOW_METHODS = ("hoiclip.methods.registry", "hoiclip.convert", "hoiclip.experiments")
# Modules whose texts name a method, although their code knows none.
NAME_METHODS = {
    "hoiclip.evaluation.ap.protocols": "a protocol is called after where it comes from",
    "hoiclip.report.published": "published tables are of methods",
}


def imported_by(module: str) -> set[str]:
    """First parts of everything foreign that importing `module` imports."""
    found = {name for own in closure(module) for name in imports(MODULES[own])}
    return {name.split(".")[0] for name in found} - set(PACKAGES)


def modules_of(*prefixes: str) -> list[str]:
    return [n for n in MODULES if any(n == p or n.startswith(f"{p}.") for p in prefixes)]


def test_the_closure_sees_what_is_imported():
    found = closure("stages.hoiclip.train")
    assert {"hoiclip.set_prediction.matcher", "hoiclip.batches.boxes", "hoiclip.errors"} <= found
    assert "torch" in imported_by("hoiclip.set_prediction.criterion")
    assert "hoiclip.core.schema" in closure("hoiclip.data.annotations")


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
    assert not used & {"dvc", "prefect", "pipelines"}
    assert {name for name in imports(path) if name.startswith("stages")} <= {"stages.live"}
    assert "dvclive" not in used or path.stem == "live"


@pytest.mark.parametrize(
    "module",
    modules_of(
        "hoiclip.evaluation",
        "hoiclip.pairs",
        "hoiclip.formats",
        "hoiclip.scoring",
        "hoiclip.contract.scored_pairs",
        "hoiclip.set_prediction.model.postprocess",
        "hoiclip.set_prediction.model.top_pairs",
    ),
)
def test_evaluation_formats_and_postprocessing_need_no_torch(module):
    assert not imported_by(module) & {"torch", "torchvision", "timm", "open_clip", "safetensors"}
    assert not any(name.startswith("hoiclip.model") for name in closure(module))


def test_packages_import_nothing():
    for path in source_files(*PACKAGES):
        if path.name == "__init__.py":
            # The environment has to be set before anything loads PyTorch.
            assert imports(path) == ({"os"} if path == ROOT / "hoiclip/__init__.py" else set()), (
                path
            )


def test_the_package_is_imported_before_pytorch():
    """So that what it sets holds: a stage's own module imports PyTorch through it alone."""
    assert [path for path in source_files("stages") if "torch" in imports(path)] == []


def test_no_module_imports_itself_in_a_circle():
    graph = nx.DiGraph((a, b) for a in MODULES for b in imports(MODULES[a]) if b in MODULES)
    assert list(nx.simple_cycles(graph)) == []


def module_rows() -> list[list[str]]:
    """Modules in each row of the table in docs/architecture.md, from bottom to top."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    table = text.split("## The modules")[1].split("A configuration dataclass")[0]
    rows = re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE)
    return [[f"hoiclip.{name}" for name in re.findall(r"`([\w.]+)(?:\.\*)?`", row)] for row in rows]


def row_of(module: str) -> int:
    """The row of the table that names the longest part of a module's name."""
    named = [(len(name), number) for number, row in enumerate(module_rows()) for name in row
             if module == name or module.startswith(f"{name}.")]  # fmt: skip
    assert named, f"{module} is in no row of docs/architecture.md"
    return max(named)[1]


def test_the_table_of_modules_names_modules_alone():
    for name in (name for row in module_rows() for name in row):
        assert name in MODULES, name


@pytest.mark.parametrize("module", modules_of("hoiclip"))
def test_imports_point_to_earlier_rows_of_the_table(module):
    if module in ("hoiclip", "hoiclip.methods"):
        return
    for name in imports(MODULES[module]) & set(MODULES):
        assert row_of(name) <= row_of(module), name


def folder_of(module: str) -> str:
    """What imports are told apart by: folders, those of methods one by one, and single modules."""
    parts = module.split(".")
    return ".".join(parts[: 3 if parts[1] == "methods" else 2])


def test_no_folder_imports_itself_in_a_circle():
    modules = [name for name in modules_of("hoiclip") if name.count(".")]
    edges = {(folder_of(a), folder_of(b)) for a in modules for b in imports(MODULES[a])
             if b in modules}  # fmt: skip
    graph = nx.DiGraph((a, b) for a, b in edges if a != b)
    assert list(nx.simple_cycles(graph)) == []


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


# Methods


def method_folders() -> list[str]:
    """Packages of methods, by their names in `hoiclip.methods`."""
    return sorted(path.parent.name for path in (ROOT / "hoiclip/methods").glob("*/__init__.py"))


def modules_of_methods(*, but: str = "") -> set[str]:
    names = [f"hoiclip.methods.{name}" for name in method_folders() if name != but]
    return set(modules_of(*names))


def may_know_methods(module: str) -> bool:
    return module in modules_of(*KNOW_METHODS)


@pytest.mark.parametrize("method", sorted({*method_folders(), *METHODS}))
def test_a_method_and_its_stages_import_no_other(method):
    others = modules_of_methods(but=method)
    for module in modules_of(f"hoiclip.methods.{method}", f"stages.{method}"):
        assert not closure(module) & others, module


def test_no_shared_stage_imports_a_method():
    """So that a change in one makes nothing stale that another method reads."""
    for name in read_stages(ROOT / "dvc.yaml"):
        assert not closure(f"stages.{name}") & modules_of_methods(), name


def test_only_registry_converters_and_stages_name_a_method():
    pattern = names_of_methods()
    for module, path in MODULES.items():
        if module in modules_of_methods() or may_know_methods(module):
            continue
        own = module.split(".")[1] if module.startswith("stages.") else None
        assert not imports(path) & modules_of_methods(but=own or ""), module
        if own not in METHODS and module not in NAME_METHODS:
            named = [text for text in strings(path.read_text("utf-8")) if pattern.search(text)]
            assert named == [], module


def test_modules_that_name_a_method_need_to():
    pattern = names_of_methods()
    for module, reason in NAME_METHODS.items():
        assert reason
        assert any(map(pattern.search, strings(MODULES[module].read_text("utf-8")))), module


def names_of_methods() -> re.Pattern[str]:
    """Finds names and titles of methods, in any spelling, anywhere in a text.

    A name that is the package's, too, is a word of many meanings: of that method the title alone
    is found, and as it is written.
    """
    titles = {name: method_named(name).title.split(" (")[0] for name in method_folders()}
    words = [word for name in titles if name != "hoiclip" for word in (name, titles[name])]
    loose = "|".join(re.escape(word).replace("_", "[-_ ]") for word in words)
    return re.compile(rf"(?i:{loose})|\b{titles['hoiclip']}\b")


def strings(source: str) -> list[str]:
    """Texts in code, without docstrings, which say what a thing is for and whose paper it is of."""
    nodes = list(ast.walk(ast.parse(source)))
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    return [node.value for node in nodes if isinstance(node, ast.Constant)
            and isinstance(node.value, str) and id(node) not in docstrings]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("help = 'from 0 to 3 of HOICLIP, else 1'", True),
        ("help = 'GEN-VLKT 1.0'", True),
        ("path = f'runs/gen_vlkt/{stage}'", True),
        ("profile = 'gen-vlkt-s'", True),
        ("text = 'of CLIP distillation'", True),
        ("name = 'clip_distill.train'", True),
        ("key = 'hoiclip.verb.weight'", False),
        ("prog = 'hoiclip'", False),
        ("variable = 'HOICLIP_ACCEPT_CODE'", False),
        ("def f():\n    'HOICLIP section 3.5, GEN-VLKT section 4.1'", False),
        ("import hoiclip.core.schema  # as gen_vlkt does", False),
    ],
)
def test_names_of_methods_are_found(source, found):
    assert any(map(names_of_methods().search, strings(source))) == found


@pytest.mark.parametrize(
    "part",
    [
        "hoiclip.training",
        "hoiclip.inference",
        "hoiclip.inference.predict",
        "hoiclip.contract.method",
    ],
)
def test_training_and_inference_import_no_method(part):
    for module in modules_of(part):
        assert not closure(module) & modules_of_methods(), module


def test_modules_that_cannot_change_a_result_import_hardly_any_other():
    others = {"hoiclip.core.files", "hoiclip.printable"}
    for module in CANNOT_CHANGE_A_RESULT:
        assert closure(module) <= {*CANNOT_CHANGE_A_RESULT, *others}, module


# dvc.yaml files


@pytest.fixture(scope="module")
def stages() -> dict[str, dict]:
    """Every stage by its module below `stages`; a shared one that reads files of the chosen method
    reads those of each."""
    found = {}
    for name, stage in read_stages(ROOT / "dvc.yaml").items():
        names = [dep.replace("${method}", method) for dep in names_in(stage["deps"])
                 for method in METHODS]  # fmt: skip
        found[name] = stage | {"deps": list(dict.fromkeys(names))}
    for method in METHODS:
        for name, stage in read_stages(ROOT / f"methods/{method}/dvc.yaml").items():
            found[f"{method}.{name}"] = stage
    return found


def names_in(entries: list) -> list[str]:
    """Paths of deps or outs, which may carry options."""
    return [name for entry in entries for name in ([entry] if isinstance(entry, str) else entry)]


def outputs(stage: dict) -> list[str]:
    return [name for key in ("outs", "metrics", "plots") for name in names_in(stage.get(key, []))]


def covered(path: str, deps: list[str]) -> bool:
    return any(path == dep or path.startswith(dep.rstrip("/") + "/") for dep in deps)


def stage_graph(stages: dict[str, dict]) -> nx.DiGraph:
    """An edge from each stage to every stage that reads what it writes."""
    graph = nx.DiGraph()
    graph.add_nodes_from(stages)
    for name, stage in stages.items():
        for dep in names_in(stage["deps"]):
            for other, source in stages.items():
                if any(covered(dep, [out]) or covered(out, [dep]) for out in outputs(source)):
                    graph.add_edge(other, name)
    return graph


def last_name(stage: str) -> str:
    return stage.split(".")[-1]


def test_every_stage_is_its_file(stages):
    files = {module_name(path).removeprefix("stages.") for path in source_files("stages")}
    assert files - {"live"} == set(stages)
    assert "hoiclip" in METHODS
    for name, stage in stages.items():
        assert stage["cmd"] == f"python -m stages.{name}"
        assert stage.get("wdir") == ("../.." if "." in name else None)


def test_files_of_a_stage_are_under_its_name(stages):
    for name, stage in stages.items():
        folder = f"runs/{name.replace('.', '/')}"
        for path in outputs(stage):
            assert not path.startswith("runs/") or covered(path, [folder]), (name, path)
        assert name == "report" or f"{folder}/summary.json" in outputs(stage)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_writes_what_the_shared_stages_read(stages, method):
    own = {path for name, stage in stages.items() if name.startswith(f"{method}.")
           for path in outputs(stage)}  # fmt: skip
    read = [dep for name in ("evaluate", "report") for dep in names_in(stages[name]["deps"])]
    assert {dep for dep in read if dep.startswith(f"runs/{method}/")} <= own
    said = names_in(stages[f"{method}.predict"]["deps"])
    for name in stages:
        if name.startswith(f"{method}.") and name != f"{method}.predict":
            assert f"runs/{name.replace('.', '/')}/summary.json" in said


def test_shared_stages_read_files_of_the_chosen_method_alone():
    for name, stage in read_stages(ROOT / "dvc.yaml").items():
        deps = names_in(stage["deps"])
        assert not [dep for dep in deps if covered(dep, [f"runs/{m}" for m in METHODS])], name
        reads = any("${method}" in dep for dep in deps)
        assert reads == ("method" in stage.get("params", [])), name


def test_deps_are_the_code_that_a_stage_imports(stages):
    """No less, or a change would not rerun it; no more, or it would rerun for nothing.
    `python tests/code_deps.py` writes them."""
    for name, stage in stages.items():
        assert sorted(filter(is_code, names_in(stage["deps"]))) == code_deps(name), name


def test_deps_cover_each_module_of_the_closure_and_no_other(stages):
    """The same without `code_deps`' choice of folders."""
    files = {path.relative_to(ROOT).as_posix() for path in MODULES.values()}
    files = {file for file in files if not file.endswith("__init__.py")}
    for name, stage in stages.items():
        deps = names_in(stage["deps"])
        assert {file for file in files if covered(file, deps)} == closure_files(name), name


def test_code_that_cannot_change_a_result_is_in_no_deps(stages):
    free = [MODULES[module].relative_to(ROOT).as_posix() for module in CANNOT_CHANGE_A_RESULT]
    for name, stage in stages.items():
        assert not [file for file in free if covered(file, names_in(stage["deps"]))], name


def test_nothing_before_predict_depends_on_test_data(stages):
    for name, stage in stages.items():
        if last_name(name) in ("predict", "evaluate", "report"):
            continue
        for dep in names_in(stage["deps"]):
            parts = Path(dep).parts
            # The folder above would hold the test partition too.
            assert not (parts[0] == "data" and "test" in parts), (name, dep)
            assert dep not in ("data", "data/annotations", "data/images"), (name, dep)


def test_what_may_read_test_data_comes_last(stages):
    graph = stage_graph(stages)
    for method in METHODS:
        after = nx.descendants(graph, f"{method}.predict")
        assert after == {"evaluate", "report"}


def test_outputs_belong_to_one_stage_each(stages):
    owners = [(path, name) for name, stage in stages.items() for path in outputs(stage)]
    assert len({path for path, _ in owners}) == len(owners)
    for path, name in owners:
        others = [other for other, owner in owners if owner != name]
        assert not covered(path, others), (name, path)


def test_deps_are_outputs_of_earlier_stages_or_committed(stages):
    """An output or a part of it: a folder above one holds .gitignore files, also in a fresh clone,
    where DVC then takes it for changed and not for missing."""
    made = [path for stage in stages.values() for path in outputs(stage)]
    for name, stage in stages.items():
        for dep in names_in(stage["deps"]):
            if "${" in dep or ((ROOT / dep).exists() and not dep.startswith(("data", "runs"))):
                continue
            assert covered(dep, made) or dep == "results", (name, dep)
    assert nx.is_directed_acyclic_graph(stage_graph(stages))


@pytest.mark.parametrize("method", METHODS)
def test_what_the_report_reads_is_among_its_deps(stages, method):
    deps = names_in(stages["report"]["deps"])
    inputs = ReportInputs.of_project("", method)
    paths = [getattr(inputs, field.name) for field in dataclasses.fields(inputs)]
    read = [path.as_posix() for path in paths if isinstance(path, Path)]
    read.remove("runs")
    shared = [name for name in read_stages(ROOT / "dvc.yaml") if name != "report"]
    assert [*BEFORE, *AFTER] == shared
    read += [f"runs/{stage}/summary.json" for stage in shared]
    read.append(method_file("runs", method).as_posix())
    assert [path for path in read if not covered(path, deps)] == []


def test_params_of_every_stage_are_in_params_yaml(stages, params):
    assert params["method"] == "hoiclip"
    for name, stage in stages.items():
        for key in names_in(stage.get("params", [])):
            value = params
            for part in key.split("."):
                assert part in value, (name, key)
                value = value[part]


# What an edit makes stale


def readers(stages: dict[str, dict], file: str) -> set[str]:
    """Stages that depend on a file: those that `dvc repro --dry` lists after an edit of it."""
    assert (ROOT / file).is_file()
    return {name for name, stage in stages.items() if covered(file, names_in(stage["deps"]))}


def stale_after(stages: dict[str, dict], file: str) -> set[str]:
    """Those stages and all after them, which run where what they read comes out otherwise."""
    first, graph = readers(stages, file), stage_graph(stages)
    return first.union(*(nx.descendants(graph, name) for name in first))


SCORING = {f"{method}.{name}" for method in METHODS for name in ("select", "predict")}
# File → stages that an edit makes stale; of evaluation, those and some of SCORING.
EDITS = {
    "hoiclip/report/charts.py": {"report"},
    "hoiclip/report/style.css": {"report"},
    "hoiclip/visualization/draw_pairs.py": {"report"},
    "stages/evaluate.py": {"evaluate", "report"},
    "hoiclip/methods/gen_vlkt/build.py": {f"gen_vlkt.{s}" for s in ("train", "select", "predict")}
    | {"evaluate", "report"},
    "hoiclip/methods/clip_distill/model/config.py": {
        f"clip_distill.{s}" for s in ("train", "select", "predict")
    }
    | {"evaluate", "report"},
    "hoiclip/errors.py": set(),
    "hoiclip/progress.py": set(),
    "hoiclip/resume/state_file.py": set(),
    "hoiclip/util/ranges.py": set(),
    "hoiclip/util/renamed.json": set(),
    "hoiclip/util/renamed.py": set(),
    "pipelines/reproduce.py": set(),
}
EVALUATION = sorted(
    path.relative_to(ROOT).as_posix()
    for path in source_files("hoiclip/evaluation")
    if path.name != "__init__.py"
)


@pytest.mark.parametrize("file", sorted(EDITS))
def test_an_edit_makes_no_more_stale_than_it_can_change(stages, file):
    assert stale_after(stages, file) == EDITS[file]


def test_an_edit_in_evaluation_makes_no_training_stale(stages):
    for file in EVALUATION:
        assert stale_after(stages, file) - SCORING == {"evaluate", "report"}, file


@pytest.mark.slow
def test_dvc_finds_the_same_stale(stages, tmp_path):
    """With every output made up and taken for what its stage wrote."""
    if not (ROOT / ".git").exists():
        pytest.skip("needs the project's git repository")

    def run(*command: str) -> str:
        return subprocess.run(
            command, cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    listed = ("git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard")
    for name in run(*listed).splitlines():
        if (ROOT / name).is_file() and not name.endswith("dvc.lock"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tmp_path / name)
    run("git", "init", "--quiet")
    for name, stage in stages.items():
        for path in (*outputs(stage), *names_in(stage["deps"])):
            made = tmp_path / path if Path(path).suffix else tmp_path / path / "part"
            if "${" not in path and not (tmp_path / path).exists():
                made.parent.mkdir(parents=True, exist_ok=True)
                made.write_text(name)
    dvc = (sys.executable, "-m", "dvc")
    run(*dvc, "commit", "--force")
    assert "Running stage" not in run(*dvc, "repro", "--dry", "--all-pipelines")
    for file in (*EDITS, "hoiclip/evaluation/diagnosis.py", "hoiclip/crops.py"):
        before = (tmp_path / file).read_text()
        (tmp_path / file).write_text(f"{before}# a comment\n")
        said = run(*dvc, "repro", "--dry", "--all-pipelines")
        found = re.findall(r"^Running stage '(?:methods/(\w+)/dvc\.yaml:)?(\w+)':", said, re.M)
        assert {".".join(filter(None, names)) for names in found} == readers(stages, file)
        (tmp_path / file).write_text(before)
