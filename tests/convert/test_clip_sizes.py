"""Everything follows CLIP's sizes: the towers that OpenAI released, without their weights."""

import dataclasses
import time

import open_clip
import pytest
import torch
from fake_checkpoint import REAL, official_shapes

from hoiclip.catalog.vocabularies import hico_det
from hoiclip.checkpoints.clip import load_clip
from hoiclip.checkpoints.pytorch import Checkpoint
from hoiclip.clip.encoder import ClipVisual, build_clip
from hoiclip.convert.official import clip_config, model_config
from hoiclip.convert.pretrained.arguments import read_arguments
from hoiclip.convert.released import RELEASED
from hoiclip.methods.hoiclip.model.network import HOICLIP, ClassifierWeights

# Width of the tokens, of the shared space, side of a patch, layers.
TOWERS = {
    "ViT-B-32-quickgelu": (768, 512, 32, 12),
    "ViT-B-16-quickgelu": (768, 512, 16, 12),
    "ViT-L-14-quickgelu": (1024, 768, 14, 24),
}


def released(name):
    """A released checkpoint around another tower, on the meta device."""
    width, embed, patch, layers = TOWERS[name]
    sizes = dataclasses.replace(
        REAL, clip_width=width, embed=embed, patch=patch, clip_layers=layers
    )
    with torch.device("meta"):
        state = {key: torch.empty(shape) for key, shape in official_shapes(sizes).items()}
    return Checkpoint("a.pth", state, {"verb_weight": 0.5})


@pytest.mark.parametrize("name", TOWERS)
def test_a_checkpoint_says_which_tower_it_has(name):
    found = clip_config(released(name))["model_cfg"]
    expected = open_clip.get_model_config(name)
    assert found["quick_gelu"] is expected["quick_gelu"] is True
    assert found["embed_dim"] == expected["embed_dim"]
    ours, theirs = found["vision_cfg"], expected["vision_cfg"]
    assert ours == {"head_width": 64, **theirs, "image_size": 224}


@pytest.mark.parametrize("name", TOWERS)
def test_the_network_follows(name):
    width, embed, patch, _ = TOWERS[name]
    checkpoint, vocabulary = released(name), hico_det()
    config = model_config(checkpoint, read_arguments(checkpoint, {**RELEASED, "verb_weight": 0.5}))
    with torch.device("meta"):
        clip = ClipVisual(clip_config(checkpoint))
        tables = ClassifierWeights(
            torch.empty(vocabulary.num_hois, embed),
            torch.empty(vocabulary.num_objects + 1, embed),
            torch.empty(vocabulary.num_verbs, vocabulary.num_hois),
            torch.empty(vocabulary.num_verbs, embed),
        )
        model = HOICLIP(config, tables, clip.visual_projection).eval()
        features = clip.encode_image_tokens(torch.empty(2, 3, 224, 224))
        assert features.tokens.shape == (2, 1 + (224 // patch) ** 2, width)
        outputs = model(torch.empty(2, 3, 64, 96), None, *features)
    assert outputs.hoi_logits.shape == (3, 2, 64, vocabulary.num_hois)
    assert outputs.object_logits.shape == (3, 2, 64, vocabulary.num_objects + 1)
    assert outputs.object_boxes_cxcywh.shape == (3, 2, 64, 4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ViT-B-32-quickgelu", "ViT-B-16-quickgelu"])
def test_the_real_size_loads_and_encodes(tmp_path, name):
    torch.manual_seed(0)
    model = build_clip({"model_cfg": open_clip.get_model_config(name)})
    torch.save(model.state_dict(), tmp_path / "clip.pt")
    del model
    begin = time.perf_counter()
    encoder = load_clip(tmp_path / "clip.pt", name)
    assert time.perf_counter() - begin < 60
    width, embed, patch, _ = TOWERS[name]
    features = encoder.encode_image_tokens(torch.randn(1, 3, 224, 224))
    assert features.tokens.shape == (1, 1 + (224 // patch) ** 2, width)
    text = encoder.encode_text(["a photo of a person"])
    assert text.shape == features.global_feature.shape == (1, embed)
    torch.testing.assert_close(text.norm(dim=-1), torch.ones(1))
