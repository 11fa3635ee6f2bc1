"""The stage `verb_vectors`, where it takes a table instead of computing one."""

import shutil

import pyarrow.parquet as pq
import pytest
import torch
import yaml

from hoiclip import schema
from hoiclip.convert.sniff import convert
from hoiclip.data.readers.vocabularies import hico_det
from hoiclip.errors import InputError
from hoiclip.verb_vectors import read_verb_vectors
from stages import verb_vectors as stage


@pytest.fixture
def project(tmp_path, toy, params, monkeypatch):
    """A folder with what the stage reads before it looks at crops."""
    for source, target in (
        ("vocabulary.parquet", "data/vocabulary.parquet"),
        ("splits/classes.parquet", "data/splits/classes.parquet"),
        ("text.parquet", "caches/text_embeddings.parquet"),
        ("clip.safetensors", "caches/weights/clip.safetensors"),
    ):
        (tmp_path / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(toy.folder / source, tmp_path / target)
    monkeypatch.chdir(tmp_path)

    def run(file):
        changed = params | {"verb_vectors": params["verb_vectors"] | {"file": str(file)}}
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(changed))
        return stage.main(tmp_path / "params.yaml")

    return run


def test_a_table_is_taken_with_its_origin(project, toy, tmp_path):
    told = project(toy.folder / "verbs.parquet")
    out = tmp_path / "caches/verb_vectors.parquet"
    assert pq.read_table(out).equals(pq.read_table(toy.folder / "verbs.parquet"))
    assert schema.read_provenance(out) == told
    assert told["file"] == str(toy.folder / "verbs.parquet")
    assert len(told["sha256"]) == 64


def test_a_converted_verb_file_of_another_width_is_refused(project, tmp_path):
    rows = torch.nn.functional.normalize(torch.randn(hico_det().num_verbs, 512), dim=-1)
    torch.save(rows, tmp_path / "verb.pth")
    convert(tmp_path / "verb.pth", tmp_path / "verb.parquet")
    assert len(read_verb_vectors(tmp_path / "verb.parquet", "arithmetic", len(rows))) == len(rows)
    with pytest.raises(InputError, match="vector"):
        project(tmp_path / "verb.parquet")
    assert not (tmp_path / "caches/verb_vectors.parquet").exists()
