"""The stage `verb_vectors`, where vectors are given instead of computed."""

import shutil

import pyarrow.parquet as pq
import pytest
import torch

from hoiclip import schema
from hoiclip.convert.sniff import convert
from hoiclip.errors import InputError
from hoiclip.formats.vocabularies import hico_det
from stages import verb_vectors as stage

ROOT = stage.Path(__file__).parents[1]


@pytest.fixture
def project(tmp_path, toy, monkeypatch):
    """A folder with what the stage reads before it looks at crops; takes the given table."""
    for source, target in (
        ("vocabulary.parquet", "data/vocabulary.parquet"),
        ("splits/classes.parquet", "data/splits/classes.parquet"),
        ("text.parquet", "caches/text_embeddings.parquet"),
        ("clip.safetensors", "caches/weights/clip.safetensors"),
    ):
        (tmp_path / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(toy.folder / source, tmp_path / target)
    monkeypatch.chdir(tmp_path)

    def run(given):
        shutil.copy(given, tmp_path / "caches/weights/verb_vectors.parquet")
        return stage.main(ROOT / "params.yaml")

    return run


def test_a_given_table_is_taken_with_its_origin(project, toy, tmp_path):
    table = schema.read_table(toy.folder / "verbs.parquet")
    origin = {"accumulation": "released", "source": "verb.pth"}
    layout = schema.verb_vectors_schema(table["vector"].type.list_size)
    schema.write_table(tmp_path / "given.parquet", table, layout, origin)
    assert project(tmp_path / "given.parquet") == {"taken": origin}
    out = tmp_path / "caches/verb_vectors.parquet"
    assert pq.read_table(out).equals(pq.read_table(tmp_path / "given.parquet"))
    assert schema.read_provenance(out) == origin


def test_vectors_of_another_vocabulary_are_refused(project, tmp_path):
    rows = torch.nn.functional.normalize(torch.randn(hico_det().num_verbs, 512), dim=-1)
    torch.save(rows, tmp_path / "verb.pth")
    convert(tmp_path / "verb.pth", tmp_path / "verb.parquet")
    with pytest.raises(InputError, match="Run the verb_vectors stage for this vocabulary"):
        project(tmp_path / "verb.parquet")
    assert not (tmp_path / "caches/verb_vectors.parquet").exists()
