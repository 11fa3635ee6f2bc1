"""Small data sets as they lie in `dataset.raw`, and the configurations that name them."""

import io
import json
import zlib

import layouts
import own_layouts
import vcoco_layouts
import yaml
from PIL import ExifTags, Image

from hoiclip.core.config import from_mapping
from hoiclip.datasets.config import DatasetConfig

HICO_CONTENT = {
    3: [((10, 10, 20, 30), (15, 12, 18, 13), layouts.SIT_ON_BENCH)],
    9: [],
    12: [
        ((1, 1, 20, 30), (15, 12, 18, 13), layouts.SIT_ON_BENCH),
        ((1, 1, 20, 30), (5, 5, 9, 9), layouts.SIT_ON_BENCH),
    ],
}


def config(raw, **values):
    """The section `dataset` of params.yaml with `values` in place of its own."""
    root = layouts.__file__.rpartition("/tests/")[0]
    with open(f"{root}/params.yaml", encoding="utf-8") as file:
        section = yaml.safe_load(file)["dataset"]
    return from_mapping(
        DatasetConfig, section | {"raw": str(raw), "workers": 1} | values, "dataset"
    )


def picture(name, size, orientation=None):
    """A JPEG of a colour that depends on its name."""
    exif = Image.Exif()
    if orientation:
        exif[ExifTags.Base.Orientation] = orientation
    code = zlib.crc32(name.encode())
    buffer = io.BytesIO()
    colour = (code & 255, code >> 8 & 255, code >> 16 & 255)
    Image.new("RGB", size, colour).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def write_pictures(folder, names, size):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(picture(name, size))


def write_hico(raw, form, content=None):
    """HICO-DET in one of its forms; both partitions hold the same."""
    content = HICO_CONTENT if content is None else content
    unpacked = raw / "hico_20160224_det"
    names = [layouts.file_name(number) for number in content]
    for part in ("train2015", "test2015"):
        (unpacked / "images" / part).mkdir(parents=True, exist_ok=True)
        write_pictures(unpacked / "images" / part, names, layouts.SIZE)
    if form == "mat":
        layouts.write_mat(unpacked / "anno_bbox.mat", layouts.mat_images(content))
    elif form == "instances":
        for part in ("train", "test"):
            path = raw / f"instances_{part}2015.json"
            layouts.write_json(path, layouts.instances_document(content))
    else:
        (raw / "annotations").mkdir(exist_ok=True)
        for part in ("trainval", "test"):
            path = raw / f"annotations/{part}_hico.json"
            layouts.write_json(path, layouts.hoia_document(content))
    return config(raw, source="hico_det", hico_det={"annotations": form})


def write_vcoco(raw, form):
    """V-COCO in one of its forms; both partitions hold the same."""
    document = vcoco_layouts.coco_document()
    names = [image["file_name"] for image in document["images"]]
    for part in ("train2014", "val2014"):
        write_pictures(raw / "images" / part, names, (64, 48))
    if form == "original":
        # One more person, whom V-COCO does not label.
        document["annotations"].append(
            {"id": 6, "image_id": 20, "category_id": vcoco_layouts.PERSON, "bbox": [40, 1, 9, 9],
             "area": 81.0, "iscrowd": 0}
        )  # fmt: skip
        for entry in document["annotations"]:
            entry.setdefault("area", entry["bbox"][2] * entry["bbox"][3])
            entry.setdefault("iscrowd", 0)
        (raw / "annotations").mkdir()
        for part in ("train2014", "val2014"):
            layouts.write_json(raw / f"annotations/instances_{part}.json", document)
        for part in ("trainval", "test"):
            layouts.write_json(raw / f"vcoco_{part}.json", vcoco_layouts.vcoco_document())
    else:
        for part in ("trainval", "test"):
            path = raw / f"instances_vcoco_{part}.json"
            layouts.write_json(path, vcoco_layouts.instances_document())
    return config(raw, source="vcoco", vcoco={"annotations": form})


def write_own(raw, kind="csv"):
    """Somebody's own data; both partitions hold the same, under other names of images."""
    layouts.write_json(raw / "vocabulary.json", own_layouts.VOCABULARY)
    for part, folder in (("train", "site"), ("test", "other")):
        document = json.dumps(own_layouts.json_document())
        text = own_layouts.csv_text() if kind == "csv" else document
        path = raw / f"{part}.{kind}"
        path.write_text(text.replace("site/", f"{folder}/"), encoding="utf-8")
        write_pictures(raw / "images", [f"{folder}/a.jpg", f"{folder}/b.jpg"], (100, 80))
    files = {"vocabulary": "vocabulary.json", "images": "images"}
    return config(raw, source="own", own=files | {p: f"{p}.{kind}" for p in ("train", "test")})
