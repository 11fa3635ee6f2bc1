"""A small content of somebody's own, as JSON and as CSV, and its vocabulary."""

VOCABULARY = {
    "objects": ["person", "ladder", "rope"],
    "verbs": [
        {"name": "climb", "phrase": "climbing"},
        {"name": "pull", "phrase": "pulling", "phrase_alone": "pulling"},
    ],
    "hois": [["climb", "ladder"], ["pull", "rope"], ["pull", None]],
}


def json_document():
    return {
        "images": [
            {"id": 5, "file_name": "site/a.jpg", "width": 100, "height": 80},
            {"id": 6, "file_name": "site/b.jpg", "width": 100, "height": 80},
        ],
        "categories": [{"id": 1, "name": "ladder"}, {"id": 9, "name": "person"}],
        "annotations": [
            {"id": 1, "image_id": 5, "category_id": 9, "bbox": [1, 2, 10, 20]},
            {"id": 2, "image_id": 5, "category_id": 1, "bbox": [3, 2.5, 10, 20]},
        ],
        "interactions": [
            {"human": 1, "object": 2, "verb": "climb"},
            {"human": 1, "object": None, "verb": "pull"},
        ],
    }


def csv_text():
    return (
        "file_name,width,height,human_x1,human_y1,human_x2,human_y2,"
        "object,object_x1,object_y1,object_x2,object_y2,verb\n"
        "site/a.jpg,100,80,1,2,11,22,ladder,3,2.5,13,22.5,climb\n"
        "site/a.jpg,100,80,1,2,11,22,,,,,,pull\n"
        "site/b.jpg,100,80,,,,,,,,,,\n"
    )
