"""A module's tests lie at its path: those of `hoiclip/data/splits.py` in `tests/data/`.

The file is `test_splits.py`, or `test_data_splits.py` where another folder has a module of that
name, because names of test files are unique. Modules that have none are listed in
`without_tests_of_their_own.txt`, which may only become shorter.
"""

from collections import Counter
from pathlib import Path, PurePath

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "hoiclip"
LISTED = TESTS / "without_tests_of_their_own.txt"


def places(module: PurePath) -> list[PurePath]:
    """Where a module's tests may lie; `module` relative to the package, they to `tests`."""
    folder = module.parent
    names = [f"test_{module.name}"]
    if folder.name:
        names.append(f"test_{folder.name}_{module.name}")
    return [folder / name for name in names]


def without_tests() -> set[str]:
    modules = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py")]
    return {
        module.as_posix()
        for module in modules
        if not module.name.startswith("__")
        and not any((TESTS / place).is_file() for place in places(module))
    }


def test_places():
    assert places(PurePath("data/splits.py")) == [
        PurePath("data/test_splits.py"),
        PurePath("data/test_data_splits.py"),
    ]
    assert places(PurePath("boxes.py")) == [PurePath("test_boxes.py")]


def test_a_module_has_tests_at_its_path():
    new = without_tests() - set(LISTED.read_text().split())
    assert sorted(new) == [], "give these modules tests at their path; do not list them"


def test_the_list_names_only_modules_without_tests():
    listed = LISTED.read_text().split()
    assert listed == sorted(set(listed))
    assert set(listed) - without_tests() == set(), f"take these lines out of {LISTED.name}"


def test_names_of_test_files_are_unique():
    names = Counter(path.name for path in TESTS.rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
