"""Paths and addresses of params.yaml: none leads out of the folder of the raw files."""

import copy

import pytest
import yaml

from hoiclip.convert.weights import WeightsConfig
from hoiclip.core.config import from_mapping, load
from hoiclip.datasets.config import DatasetConfig
from hoiclip.errors import ParamsError
from hoiclip.inside import check_inside
from hoiclip.splits.splits import SplitsConfig
from stages.splits import fraction_file

PATHS = {
    "weights": ("clip", "detector", "verb_vectors"),
    "dataset": ("own.vocabulary", "own.train", "own.test", "own.images"),
}
CONFIGS = {"weights": WeightsConfig, "dataset": DatasetConfig}


@pytest.fixture
def raw(tmp_path):
    """A folder with links: to a folder outside, to a file outside, in a circle, and inside."""
    folder, outside = tmp_path / "raw", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (outside / "file").touch()
    (folder / "out").symlink_to(outside)
    (folder / "file").symlink_to(outside / "file")
    (folder / "circle").symlink_to(folder / "circle")
    (folder / "real").mkdir()
    (folder / "in").symlink_to(folder / "real")
    return folder


OUTSIDE = ["/etc/passwd", "../outside/file", "in/../../outside", "out/new", "out", "file", "", ".",
           "a\0b", "..\\outside"]  # fmt: skip


@pytest.mark.parametrize("value", OUTSIDE)
def test_what_leads_out_is_refused_with_key_and_value(raw, value):
    with pytest.raises(ValueError, match=r"^clip: ") as info:
        check_inside("clip", value, raw)
    assert repr(value) in str(info.value)


@pytest.mark.parametrize("value", ["new", "real/new", "in/new", "a..b", "./real", "circle"])
def test_what_stays_inside_is_taken(raw, value, tmp_path):
    check_inside("clip", value, raw)
    (tmp_path / "linked").symlink_to(raw)
    check_inside("clip", value, tmp_path / "linked")


def test_the_folder_itself_where_images_may_be_in_it(raw):
    check_inside("images", ".", raw, folder_itself=True)
    with pytest.raises(ValueError, match="is not a path inside"):
        check_inside("images", "", raw, folder_itself=True)


def test_a_link_of_dvc_into_its_cache_is_no_way_out(raw, tmp_path):
    (raw / "clip.pt").symlink_to(tmp_path / "cache/files/md5/0a" / ("b" * 30))
    check_inside("clip", "clip.pt", raw)


@pytest.mark.parametrize("section", PATHS)
@pytest.mark.parametrize("value", ["/etc/passwd", "../new", "out/new"])
def test_every_path_of_a_section_is_checked(params, raw, section, value):
    for key in PATHS[section]:
        changed = copy.deepcopy(params[section]) | {"raw": str(raw)}
        *above, last = key.split(".")
        target = changed
        for name in above:
            target = target[name]
        target[last] = value
        with pytest.raises(ParamsError) as info:
            from_mapping(CONFIGS[section], changed, section)
        assert str(info.value).startswith(f"{section}.{key}: {value!r}")


@pytest.mark.parametrize("key", ["path", "unpack"])
@pytest.mark.parametrize("value", ["/etc/passwd", "../new", "out/new"])
def test_paths_of_downloads_are_checked(params, raw, key, value):
    entry = {"path": "a.zip", "url": None, "sha256": None, "note": "", "unpack": "a", key: value}
    changed = params["dataset"] | {"raw": str(raw), "downloads": [entry]}
    with pytest.raises(ParamsError) as info:
        from_mapping(DatasetConfig, changed, "dataset")
    assert str(info.value).startswith(f"dataset.downloads[0]: {value!r}")


@pytest.mark.parametrize("value", ["/etc/passwd", "../new", "out/new"])
def test_the_file_of_a_fraction_is_in_the_raw_folder(params, raw, tmp_path, value):
    path = tmp_path / "params.yaml"
    params = params | {"dataset": {"raw": str(raw)}}
    for name in ("real/fraction.json", value):
        params["splits"] = params["splits"] | {"fraction_file": name}
        path.write_text(yaml.safe_dump(params))
        config = load(SplitsConfig, "splits", path)
        if name != value:
            assert fraction_file(config, path) == str(raw / name)
    with pytest.raises(ParamsError) as info:
        fraction_file(config, path)
    assert f"splits.fraction_file: {value!r}" in str(info.value)


@pytest.mark.parametrize("key", ["clip_url", "detector_url"])
@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://a.org/b", "/etc/passwd", ""])
def test_addresses_of_weights_are_http(params, key, url):
    with pytest.raises(ParamsError) as info:
        from_mapping(WeightsConfig, params["weights"] | {key: url}, "weights")
    assert str(info.value) == f"weights.{key}: {url!r} is not http or https"


@pytest.mark.parametrize("name", ["local-dir:/etc", "hf-hub:some/model", "a/b", "a\\b"])
def test_the_name_of_a_clip_is_no_place(params, name):
    with pytest.raises(ParamsError, match=r"weights\.clip_model: .* is a place, expected a name"):
        from_mapping(WeightsConfig, params["weights"] | {"clip_model": name}, "weights")


@pytest.mark.parametrize("section", ["weights", "dataset"])
def test_a_folder_with_a_zero_byte_is_named(params, section):
    value = copy.deepcopy(params[section]) | {"raw": "a\0b"}
    with pytest.raises(ParamsError, match=rf"{section}\.raw: 'a.x00b' has a zero byte"):
        from_mapping(CONFIGS[section], value, section)
