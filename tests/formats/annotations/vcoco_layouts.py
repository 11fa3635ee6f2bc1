"""A small V-COCO content in its original files and in COCO's."""

from hoiclip.catalog.vocabularies import vcoco

V_COCO = vcoco()
ACTIONS = (
    ("hold", ["agent", "obj"]),
    ("stand", ["agent"]),
    ("eat", ["agent", "obj", "instr"]),
)
CUP, FORK, PERSON = 47, 48, 1


def verb(name):
    return [v.name for v in V_COCO.verbs].index(name)


def hoi(verb_name, object_name=None):
    object_ = None if object_name is None else V_COCO.objects.index(object_name)
    return V_COCO.hoi_ids[(verb(verb_name), object_)]


def coco_document():
    """Image 10 with persons 1, 2, a cup 3 and a fork 4; image 20 with person 5."""
    boxes = {
        1: (10, PERSON, [0.5, 1.25, 10, 20]),
        2: (10, PERSON, [20, 1, 10, 20]),
        3: (10, CUP, [5, 5, 2.5, 4]),
        4: (10, FORK, [6, 5, 1, 4]),
        5: (20, PERSON, [0, 0, 30, 30]),
    }
    return {
        "images": [
            {"id": i, "file_name": f"COCO_train2014_{i:012d}.jpg", "width": 64, "height": 48}
            for i in (20, 10)
        ],
        "annotations": [
            {"id": key, "image_id": image, "category_id": category, "bbox": box}
            for key, (image, category, box) in boxes.items()
        ],
    }


def vcoco_document():
    """Person 1 holds the cup and eats with the fork, nothing in sight; 2 holds; 5 stands."""
    people, images = [1, 2, 5], [10, 10, 20]
    labels = {"hold": [1, 1, 0], "stand": [0, 0, 1], "eat": [1, 0, 0]}
    objects = {"hold": [3, 0, 0], "stand": [], "eat": [0, 0, 0, 4, 0, 0]}
    return [
        {
            "action_name": name,
            "role_name": roles,
            "image_id": images,
            "ann_id": people,
            "label": labels[name],
            "role_object_id": people + objects[name],
            "include": [[] for _ in roles],
        }
        for name, roles in ACTIONS
    ]


def instances_document():
    """`instances_vcoco_*.json` of the same images: pairs with an object only."""
    human, cup = [0.5, 1.25, 10.5, 21.25], [5.0, 5.0, 7.5, 9.0]
    objects = [name.replace("_", " ") for name in V_COCO.objects]
    return {
        "images": [10, 20],
        "classes": ["hold obj", "eat obj"],
        "objects": ["background", *objects],
        "annotations": [
            {
                "file_name": "COCO_train2014_000000000010.jpg",
                "boxes_h": [human],
                "boxes_o": [cup],
                "actions": [0],
                "objects": [1 + V_COCO.objects.index("cup")],
            },
            {
                "file_name": "COCO_train2014_000000000020.jpg",
                "boxes_h": [],
                "boxes_o": [],
                "actions": [],
                "objects": [],
            },
        ],
    }
