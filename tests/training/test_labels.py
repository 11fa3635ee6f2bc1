import pytest

from hoiclip.errors import InputError
from hoiclip.training.labels import LABELS, check_no_labels


def test_images_and_caches_are_taken(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images.parquet").touch()
    check_no_labels([tmp_path / "images.parquet", tmp_path / "images", tmp_path / "absent"], "CLIP")


@pytest.mark.parametrize("name", LABELS)
def test_files_of_labels_and_folders_of_them_are_refused(tmp_path, name):
    (tmp_path / name).touch()
    for path in (tmp_path / name, tmp_path):
        with pytest.raises(InputError, match="holds labels, and CLIP learns without") as error:
            check_no_labels([tmp_path / "images.parquet", path], "CLIP")
        assert str(path) in str(error.value)
