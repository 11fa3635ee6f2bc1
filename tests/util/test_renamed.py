from dataclasses import make_dataclass

import pytest
import yaml

from hoiclip.core.config import load
from hoiclip.errors import ParamsError
from hoiclip.util.renamed import renamed_keys

Section = make_dataclass("Section", [("lr", float, 0.1)])


def section_with(folder, name, key):
    """The error of a params file whose section `name` has `key`."""
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump({name: {key: 1}}))
    with pytest.raises(ParamsError) as info:
        load(Section, name, path)
    return str(info.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize(("old", "new"), renamed_keys().items())
def test_a_key_of_an_earlier_version_is_told_its_new_name(tmp_path, params, old, new):
    name, key = old.rsplit(".", 1)
    assert section_with(tmp_path, name, key) == f"{old}: is called {new} now"
    value = params
    for part in new.split("."):
        value = value[part]


def test_the_same_key_in_another_section_is_unknown(tmp_path):
    for name, key in (("select", "keep"), ("train", "x" * 100), ("train", 3)):
        said = section_with(tmp_path, name, key)
        assert said == f"{name}.{str(key)[:60]}: unknown key; known are lr"
