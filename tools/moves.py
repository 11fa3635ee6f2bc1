"""Moves the readers into hoiclip/formats, in the git tree at the current folder.

    python moves.py          moves files and rewrites names
    python moves.py --text   rewrites names alone (for a tree in which the files have moved)
"""
import re
import subprocess
import sys
from pathlib import Path

R, F = "hoiclip/data/readers/", "hoiclip/foreign/"
A, P, B = "hoiclip/formats/annotations/", "hoiclip/formats/predictions/", "hoiclip/formats/"
FILES = {
    R + "source.py": B + "json_columns.py",
    R + "vocabularies.py": B + "vocabularies.py",
    F + "json_list.py": B + "json_stream.py",
    R + "__init__.py": A + "__init__.py",
    R + "assembly.py": A + "assemble.py",
    R + "report.py": A + "findings.py",
    R + "rows.py": A + "source_rows.py",
    **{R + f"{n}.py": A + f"{n}.py" for n in (
        "filters frame hico_instances hico_mat image_table classes coco hoia hoia_evidence "
        "hoia_numbering mat_structs own own_csv vcoco vcoco_instances").split()},
    F + "annotation_kinds.py": A + "detection.py",
    F + "annotations.py": A + "reading.py",
    F + "image_sizes.py": A + "image_sizes.py",
    F + "partition_folder.py": A + "partition.py",
    F + "prediction_formats.py": P + "detection.py",
    F + "prediction_entries.py": P + "wrappings.py",
    F + "numbering.py": P + "hoia_numbering.py",
    F + "images.py": P + "image_names.py",
    **{F + f"{n}.py": P + f"{n}.py" for n in (
        "fields hoia matlab matlab_cells parquet python_text rows vcoco_list").split()},
}
TESTS = {
    **{f"tests/data/readers/{p.name}": f"tests/formats/annotations/{p.name}"
       for p in Path("tests/data/readers").glob("*.py")},
    "tests/evaluation/test_annotation_numbering.py":
        "tests/formats/annotations/test_annotation_numbering.py",
    **{f"tests/evaluation/{n}.py": f"tests/formats/predictions/{n}.py" for n in
       ("test_foreign_readers", "test_prediction_wrappings", "test_matlab_detections",
        "test_missing_object_classes")},
}
# Modules that are used by their bare name, and the new one.
BARE = {"source": "json_columns", "json_list": "json_stream", "numbering": "hoia_numbering",
        "prediction_entries": "wrappings"}


def dotted(path):
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


MODULES = {dotted(a): dotted(b) for a, b in FILES.items()}
PACKAGE = re.compile(
    r"^( *)from (hoiclip\.data\.readers|hoiclip\.foreign) import (\([^)]*\)|[^\n(]+)(\n|$)", re.M)


def split_import(match, renamed):
    indent, package, names, end = match.groups()
    comment = re.search(r"#.*", names)
    assert comment is None, names
    by_package = {}
    for name in filter(None, (n.strip() for n in names.strip("()").split(","))):
        bare, _, alias = name.partition(" as ")
        new = MODULES.get(f"{package}.{bare}", f"{package}.{bare}")
        home, _, last = new.rpartition(".")
        if alias:
            last = f"{last} as {alias}"
        elif last != bare:
            renamed[bare] = last
        by_package.setdefault(home, []).append(last)
    return "".join(f"{indent}from {home} import {', '.join(sorted(names))}{end}"
                   for home, names in sorted(by_package.items()))


def rewrite(text, path):
    renamed = {}
    if path.suffix in (".py", ".md"):
        text = PACKAGE.sub(lambda m: split_import(m, renamed), text)
    for old in sorted({**FILES, **TESTS}, key=len, reverse=True):
        text = text.replace(old, {**FILES, **TESTS}[old])
    for old in sorted(MODULES, key=len, reverse=True):
        text = re.sub(rf"\b{re.escape(old)}\b(?!\.py)", MODULES[old], text)
    for old, new in renamed.items():
        text = re.sub(rf"(?<![\w.\"'`/]){old}\.(?=[a-zA-Z_])", f"{new}.", text)
        text = re.sub(rf"\({old}, \"", f"({new}, \"", text)  # monkeypatch.setattr(module, "name"
    return text


if "--text" not in sys.argv:
    for old, new in {**FILES, **TESTS}.items():
        Path(new).parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["git", "mv", old, new], check=True)
listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, check=True).stdout
for name in filter(None, listed.split("\0")):
    path = Path(name)
    if path.suffix not in (".py", ".md", ".yaml", ".json", ".toml") or not path.is_file():
        continue
    if name in ("dvc.lock",) or name.startswith(("tests/fuzz/log", "report/", "runs/")):
        continue
    text = path.read_text(encoding="utf-8")
    new = rewrite(text, path)
    if new != text:
        path.write_text(new, encoding="utf-8")
        print(name)
# Source and SourceOptions have a module of their own.
for path in [*Path("hoiclip").rglob("*.py"), *Path("tests").rglob("*.py")]:
    text = path.read_text(encoding="utf-8")

    def split(match):
        names = [n.strip() for n in match[2].strip("()").split(",") if n.strip()]
        ours = [n for n in names if n in ("Source", "SourceOptions")]
        others = [n for n in names if n not in ours]
        home = f"{match[1]}from hoiclip.formats.annotations."
        return "".join(f"{home}{module} import {', '.join(listed)}\n"
                       for module, listed in (("reading", others), ("source", ours)) if listed)

    new = re.sub(r"(?m)^( *)from hoiclip\.formats\.annotations\.reading import (\([^)]*\)|[^\n(]+)\n",
                 split, text)
    if new != text:
        path.write_text(new, encoding="utf-8")
        print(path)
