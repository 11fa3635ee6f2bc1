from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.serialize import load_yaml
from hypothesis import given
from hypothesis import strategies as st

from hoiclip.util import renamed
from pipelines.errors import PipelineError
from pipelines.params import apply_changes, parse_overrides, read_overlay, read_yaml, renamed_keys
from pipelines.profile import main

ROOT = Path(__file__).parents[2]
TEXT = """\
# Head comment
train:
  epochs: 3       # passes over train
  lr: 1.0e-4      # AdamW
  amp: false
  resume: null
  layers: [2, 2]
  name: "quoted"
  sizes:
    - 1
    - 2

# Second section
model:
  clip: none
"""


@pytest.fixture
def params(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(TEXT)
    return path


def test_only_the_changed_lines_change(params: Path) -> None:
    assert apply_changes(params, {"train": {"epochs": 40}}) == ["train.epochs: 3 -> 40"]
    assert params.read_text() == TEXT.replace("epochs: 3 ", "epochs: 40")


@pytest.mark.parametrize("changes", [{}, {"train": {}}, {"train": {"epochs": 3, "lr": "1e-4"}}])
def test_no_difference_leaves_the_bytes(params: Path, changes: dict[str, Any]) -> None:
    params.write_text(TEXT.replace("3  ", "3"))
    assert apply_changes(params, changes) == []
    assert params.read_text() == TEXT.replace("3  ", "3")


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("train.lr=1e-5", 1e-5),
        ("train.lr=1", 1.0),
        ("train.amp=true", True),
        ("train.resume=yes.pt", "yes.pt"),
        ("train.resume='yes'", "yes"),
        ("train.epochs=null", None),
        ("train.layers=[3, 4]", [3, 4]),
        ("train.name=a: b", None),
        ("train.name='a: b = c #d'", "a: b = c #d"),
        ("model.clip='1e5'", "1e5"),
    ],
)
def test_a_value_reads_the_same_by_pyyaml_and_by_dvc(
    params: Path, override: str, value: object
) -> None:
    if override == "train.name=a: b":
        with pytest.raises(PipelineError, match=r"train\.name"):
            apply_changes(params, parse_overrides([override]))
        return
    apply_changes(params, parse_overrides([override]))
    section, key = override.partition("=")[0].split(".")
    for read in (yaml.safe_load(params.read_text()), load_yaml(str(params))):
        assert read[section][key] == value
        assert type(read[section][key]) is type(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_survives(tmp_path_factory: pytest.TempPathFactory, value: float) -> None:
    path = tmp_path_factory.mktemp("params") / "params.yaml"
    path.write_text("a: 0.5\n")
    apply_changes(path, {"a": value})
    for read in (yaml.safe_load(path.read_text()), load_yaml(str(path))):
        assert read["a"] == value
        assert isinstance(read["a"], float)


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"])))
def test_every_text_survives(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    path = tmp_path_factory.mktemp("params") / "params.yaml"
    path.write_text("a: text\nb: 1\n")
    apply_changes(path, {"a": value})
    for read in (yaml.safe_load(path.read_text()), load_yaml(str(path))):
        assert read == {"a": value, "b": 1}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epoch=4", "no key train.epoch. Did you mean train.epochs?"),
        ("zzz=4", "no key zzz. Known: train, model"),
        ("train.epochs.more=4", "train.epochs is 3, so {'more': 4} has the wrong type"),
        ("train=4", "train is a section, 4 is a value"),
        ("train.epochs=four", "train.epochs is 3, so 'four' has the wrong type"),
        ("train.epochs=4.5", "so 4.5 has the wrong type"),
        ("train.epochs=true", "so True has the wrong type"),
        ("train.amp=1", "so 1 has the wrong type"),
        ("train.lr=fast", "so 'fast' has the wrong type"),
        ("train.lr=true", "so True has the wrong type"),
        ("train.layers=3", "so 3 has the wrong type"),
        ("+train.new=4", "no key +train"),
        ("~train.lr=4", "no key ~train"),
        ("train.epochs", "not of the form key=value"),
        ("=4", "not of the form key=value"),
        ("train..epochs=4", "not of the form key=value"),
        ("train.epochs=[", "the value is not YAML"),
        ("train\nepochs", "override 'train\\nepochs': not of the form key=value"),
        ("a." * 50_000 + "b=1", "not of the form key=value"),
    ],
)
def test_a_bad_override_is_one_line_and_changes_nothing(
    params: Path, override: str, message: str
) -> None:
    with pytest.raises(PipelineError) as info:
        apply_changes(params, parse_overrides(["model.clip=shared", override]))
    assert message in str(info.value)
    assert "\n" not in str(info.value)
    assert len(str(info.value)) < 500
    # The file is a copy in a temporary folder more often than not.
    assert str(params.parent) not in str(info.value)
    assert params.read_text() == TEXT


@pytest.mark.parametrize(("old", "new"), renamed_keys().items())
def test_a_key_of_an_earlier_version_is_told_its_new_name(
    tmp_path: Path, old: str, new: str
) -> None:
    path = tmp_path / "params.yaml"
    shutil.copyfile(ROOT / "params.yaml", path)
    with pytest.raises(PipelineError) as info:
        apply_changes(path, parse_overrides([f"{old}=1"]))
    assert str(info.value) == f"params.yaml: no key {old}. It is called {new} now"


def test_the_table_of_renamed_keys_is_the_package_s_own() -> None:
    assert renamed_keys() == renamed.renamed_keys()


def test_a_value_and_a_section_under_one_key_are_refused() -> None:
    with pytest.raises(PipelineError, match="was given a value before"):
        parse_overrides(["a=1", "a.b=2"])


@pytest.fixture
def profiles(params: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = params.parent / "params"
    folder.mkdir()
    (folder / "hico.yaml").write_text("train:\n  epochs: 60\n  lr: 1e-5\n")
    (folder / "empty.yaml").write_text("# nothing\n")
    (folder / "typo.yaml").write_text("train:\n  epochs: 60\n  lrr: 1e-5\n")
    (folder / "broken.yaml").write_text("train: [\n")
    monkeypatch.chdir(params.parent)
    return params


def test_a_profile_and_then_single_values(
    profiles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["hico", "--set", "train.epochs=7"]) == 0
    read = yaml.safe_load(profiles.read_text())
    assert read["train"]["epochs"] == 7
    assert read["train"]["lr"] == 1e-5
    assert "# passes over train" in profiles.read_text()
    assert "train.epochs: 60 -> 7" in capsys.readouterr().out
    assert main(["empty"]) == 0
    assert main(["--set", "train.epochs=8"]) == 0
    assert yaml.safe_load(profiles.read_text())["train"]["epochs"] == 8


@pytest.mark.parametrize("name", ["nowhere", "typo", "broken", "../params"])
def test_a_bad_profile_is_one_line_and_changes_nothing(
    profiles: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert main([name]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert profiles.read_text() == TEXT


def test_without_a_name_the_profiles_are_listed(
    profiles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([]) == 2
    assert "broken, empty, hico, typo" in capsys.readouterr().out
    assert main(["nowhere"]) == 2
    assert "broken, empty, hico, typo" in capsys.readouterr().err


def test_no_params_file_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--set", "a=1"]) == 2
    assert "params.yaml: No such file" in capsys.readouterr().err


LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: " + "[" * 10_000, "nested more than 32 deep"),
        ("train: " + "[" * 200_000 + "]" * 200_000, "nested more than 32 deep"),
        ("train: &a [*a]", r"line 1 has the alias \*a"),
        (LAUGHS, r"line 2 has the alias \*a0"),
        ("train: " + "9" * 100_000, "Exceeds the limit"),
        ("train: 0x" + "f" * 100_000, "Exceeds the limit"),
        ("train: " + "x" * 2**21, "over 1048576 characters"),
        ("train: 1\ntrain: 2", "duplicate key"),
        ("train:\n\t- 1", "not YAML"),
        ("train: !!python/object/apply:os.getcwd []", "not YAML"),
        ("train: !!int x", "not YAML"),
        ("train: !!bool x", "not YAML"),
    ],
)
def test_yaml_without_end_is_one_line_in_a_second(params: Path, text: str, message: str) -> None:
    started = time.monotonic()
    with pytest.raises(PipelineError, match=message) as info:
        read_yaml(text)
    assert "\n" not in str(info.value)
    assert len(str(info.value)) < 1000
    params.write_text(text)
    with pytest.raises(PipelineError, match=message) as info:
        apply_changes(params, {"train": {"epochs": 4}})
    assert str(info.value).startswith("params.yaml: ")
    assert params.read_text() == text
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    "value", ["yes", "on", "0o17", "010", "1_000", "12:30:00", "1e-4", "1e400"]
)
def test_a_value_is_read_as_dvc_reads_it(tmp_path: Path, value: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"a: {value}\n")
    expected = load_yaml(str(path))
    assert parse_overrides([f"a={value}"]) == read_overlay(path) == expected
    assert type(read_overlay(path)["a"]) is type(expected["a"])


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf", "1e400", "nan", "inf"])
def test_no_override_is_infinite(params: Path, value: str) -> None:
    with pytest.raises(PipelineError, match=r"train\.lr is 0\.0001, so .* is not a number"):
        apply_changes(params, parse_overrides([f"train.lr={value}"]))
    assert params.read_text() == TEXT


def test_a_disk_that_refuses_is_one_line(
    profiles: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "params.yaml")

    monkeypatch.setattr("os.replace", full)
    assert main(["--set", "train.epochs=7"]) == 1
    assert capsys.readouterr().err == "error: params.yaml: No space left on device\n"
    assert profiles.read_text() == TEXT
    assert not list(profiles.parent.glob(".*"))


def test_what_a_kill_left_is_removed_and_what_is_at_work_stays(params: Path) -> None:
    left, live = (params.with_name(f".params.yaml.{pid}.part") for pid in (2**22 + 1, 1))
    left.touch()
    live.touch()
    apply_changes(params, {"train": {"epochs": 5}})
    assert not left.exists()
    assert live.exists()
