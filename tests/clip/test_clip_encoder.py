from __future__ import annotations

import json

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file

from hoiclip.checkpoints.clip import load_clip, save_clip
from hoiclip.clip.encoder import ClipEncoder, ClipVisual, build_clip, compact_tokens
from hoiclip.errors import WeightsError

TEXTS = ["a photo of a person holding a dog", "a photo of a dog", "a photo of nothing"]

NO_CLIP = "its header is not of a CLIP"


def model_cfg(**vision) -> dict:
    return {
        "embed_dim": 12,
        "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 64, "layers": 2} | vision,
        "text_cfg": {
            "context_length": 16, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1,
        },
    }  # fmt: skip


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def config():
    return {"model_cfg": model_cfg()}


@pytest.fixture
def toy_config(config):
    ids = open_clip.tokenize(TEXTS, 16).unique().tolist()
    config["model_cfg"]["vision_cfg"] |= {"pool_type": "avg"}
    config["model_cfg"]["text_cfg"]["vocab_size"] = len(ids)
    return config | {"conv_stem": True, "token_ids": ids, "mean": [0.5] * 3, "std": [0.25] * 3}


def pixels(n=2):
    return torch.randn(n, 3, 32, 32)


def outputs_of(module, call):
    seen = []
    handle = module.register_forward_hook(lambda _m, _i, out: seen.append(out))
    call()
    handle.remove()
    return seen


class TestImageTokens:
    def test_are_all_tokens_after_the_final_norm_with_cls_first(self, config):
        encoder, x = ClipEncoder(config), pixels()
        features = encoder.encode_image_tokens(x)
        (normed,) = outputs_of(encoder.tower.ln_post, lambda: encoder.tower(x))
        assert features.tokens.shape == (2, 1 + 4, 64)
        torch.testing.assert_close(features.tokens, normed)

    def test_of_a_cls_pooled_model_project_to_its_global_feature(self, config):
        encoder = ClipEncoder(config)
        tokens, global_feature = encoder.encode_image_tokens(pixels())
        projected = tokens[:, 0] @ encoder.visual_projection
        torch.testing.assert_close(F.normalize(projected, dim=-1), global_feature)

    def test_of_an_average_pooled_model_project_to_its_global_feature(self, toy_config):
        encoder = ClipEncoder(toy_config)
        tokens, global_feature = encoder.encode_image_tokens(pixels())
        projected = tokens[:, 1:].mean(1) @ encoder.visual_projection
        torch.testing.assert_close(F.normalize(projected, dim=-1), global_feature)

    def test_patches_come_by_row(self, config):
        encoder, x = ClipEncoder(config), pixels(1)
        changed = x.clone()
        changed[:, :, :16, 16:] += 1  # the upper right patch
        (before,) = outputs_of(encoder.tower.conv1, lambda: encoder.encode_image_tokens(x))
        (after,) = outputs_of(encoder.tower.conv1, lambda: encoder.encode_image_tokens(changed))
        moved = (after - before).abs().sum(1).flatten() > 0
        assert moved.tolist() == [False, True, False, False]

    def test_the_unnormalised_feature_has_the_same_direction(self, config):
        encoder, x = ClipEncoder(config), pixels()
        raw = encoder.encode_image(x)
        assert not torch.allclose(raw.norm(dim=-1), torch.ones(2))
        torch.testing.assert_close(
            F.normalize(raw, dim=-1), encoder.encode_image_tokens(x).global_feature
        )


class TestFrozen:
    def test_train_mode_changes_nothing(self, toy_config):
        encoder, x = ClipEncoder(toy_config), pixels()
        before = encoder.encode_image_tokens(x)
        state = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
        parent = torch.nn.ModuleList([encoder]).train()
        after = encoder.encode_image_tokens(x)
        assert not any(module.training for module in parent[0].modules())
        torch.testing.assert_close(after, before, rtol=0, atol=0)
        for name, tensor in encoder.state_dict().items():
            torch.testing.assert_close(tensor, state[name], rtol=0, atol=0)

    def test_no_parameter_asks_for_a_gradient(self, config):
        encoder = ClipEncoder(config)
        assert not any(p.requires_grad for p in encoder.parameters())
        assert not any(p.requires_grad for p in encoder.visual().parameters())
        assert not encoder.encode_image_tokens(pixels().requires_grad_()).tokens.requires_grad


class TestVisualAlone:
    def test_returns_from_json_and_state_dict(self, toy_config):
        visual, x = ClipEncoder(toy_config).visual(), pixels()
        header = json.loads(json.dumps(visual.config))
        assert "text_cfg" not in header["model_cfg"]
        assert "token_ids" not in header
        restored = ClipVisual(header)
        restored.load_state_dict(visual.state_dict())
        torch.testing.assert_close(
            restored.encode_image_tokens(x), visual.encode_image_tokens(x), rtol=0, atol=0
        )
        assert (restored.mean, restored.std) == ((0.5,) * 3, (0.25,) * 3)

    def test_holds_no_text_weights(self, config):
        assert all(name.startswith("tower.") for name in ClipEncoder(config).visual().state_dict())

    def test_sizes_follow_the_model(self, config):
        visual = ClipVisual(config)
        assert (visual.image_size, visual.token_width, visual.embed_dim) == (32, 64, 12)
        assert visual.visual_projection.shape == (64, 12)

    def test_the_stem_keeps_the_patch_grid(self, toy_config):
        assert ClipVisual(toy_config).tower.conv1(pixels()).shape == (2, 64, 2, 2)


class TestPreprocessing:
    def test_resizes_the_short_side_and_takes_the_central_square(self, config):
        image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 90, 3), np.uint8))
        visual = ClipVisual(config)
        small = image.resize((72, 32), Image.Resampling.BICUBIC).crop((20, 0, 52, 32))
        expected = (np.asarray(small) / 255 - visual.mean) / visual.std
        torch.testing.assert_close(
            visual.preprocess(image), torch.from_numpy(expected).permute(2, 0, 1).float()
        )


class TestText:
    def test_features_are_unit_and_independent_of_the_batch(self, config):
        encoder = ClipEncoder(config)
        together = encoder.encode_text(TEXTS)
        torch.testing.assert_close(together.norm(dim=-1), torch.ones(3))
        torch.testing.assert_close(encoder.encode_text(TEXTS, batch_size=1), together)

    def test_a_reduced_vocabulary_gives_the_full_ones_features(self, config, toy_config):
        toy_config["model_cfg"]["vision_cfg"] = config["model_cfg"]["vision_cfg"]
        full = build_clip({"model_cfg": model_cfg(pool_type="avg"), "conv_stem": True})
        state = full.state_dict()
        state["token_embedding.weight"] = state["token_embedding.weight"][toy_config["token_ids"]]
        reduced = build_clip(toy_config)
        reduced.load_state_dict(state)
        full = ClipEncoder({"model_cfg": model_cfg(pool_type="avg"), "conv_stem": True}, full)
        torch.testing.assert_close(
            ClipEncoder(toy_config, reduced).encode_text(TEXTS), full.encode_text(TEXTS)
        )

    @pytest.mark.parametrize("word", ["zebra", "!", "nothings"])
    def test_a_word_outside_a_reduced_vocabulary_is_refused(self, toy_config, word):
        with pytest.raises(WeightsError, match=f"some word of 'a photo of a {word}'"):
            ClipEncoder(toy_config).encode_text([TEXTS[0], f"a photo of a {word}"])

    def test_compact_tokens_are_positions(self):
        tokens = torch.tensor([[7, 0, 9]])
        assert compact_tokens(tokens, ["x"], [0, 7, 9]).tolist() == [[1, 0, 2]]
        assert compact_tokens(tokens, ["x"], None) is tokens
        with pytest.raises(WeightsError):
            compact_tokens(tokens + 1, ["x"], [0, 7, 9])


class TestOwnFile:
    @pytest.fixture
    def model(self, toy_config):
        return build_clip(toy_config).eval()

    @pytest.fixture
    def path(self, tmp_path, toy_config, model):
        save_clip(tmp_path / "clip.safetensors", toy_config, model.state_dict(), {"seed": 3})
        return tmp_path / "clip.safetensors"

    def _altered(self, path, change):
        header = load_clip(path).config | {"model_cfg": self.full}
        state = load_file(path)
        change(state)
        save_file(state, path, {"clip_config": json.dumps(header)})

    @pytest.fixture(autouse=True)
    def _full(self, toy_config):
        self.full = toy_config["model_cfg"]

    def test_restores_model_and_provenance(self, path, model, toy_config):
        encoder, x = load_clip(path), pixels()
        torch.testing.assert_close(encoder.encode_image(x), model.visual(x))
        tokens = encoder.tokenize(TEXTS)
        torch.testing.assert_close(
            encoder.encode_text(TEXTS), model.encode_text(tokens, normalize=True)
        )
        assert encoder.provenance["model"] == "clip"
        assert len(encoder.provenance["weights_sha256"]) == 64

    def test_half_precision_is_widened(self, tmp_path, toy_config, model):
        half = {name: tensor.half() for name, tensor in model.state_dict().items()}
        save_clip(tmp_path / "half.safetensors", toy_config, half, {})
        encoder = load_clip(tmp_path / "half.safetensors")
        assert {p.dtype for p in encoder.parameters()} == {torch.float32}

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            (lambda s: s.pop("visual.proj"), "tensor visual.proj is missing"),
            (
                lambda s: s.update({"visual.proj": torch.zeros(2, 3)}),
                r"tensor visual.proj has shape \(2, 3\), the model needs \(64, 12\)",
            ),
            (lambda s: s["visual.proj"].fill_(float("nan")), "tensor visual.proj holds values"),
            (lambda s: s.update(extra=torch.zeros(1)), "tensor extra belongs to no part"),
        ],
    )
    def test_a_wrong_tensor_is_named(self, path, change, problem):
        self._altered(path, change)
        with pytest.raises(WeightsError, match=f"clip.safetensors: {problem}"):
            load_clip(path)

    @pytest.mark.parametrize(
        ("header", "problem"),
        [
            ("{", NO_CLIP),
            ("[]", NO_CLIP),
            ("[" * 100_000, NO_CLIP),
            ('{"card": 3}', NO_CLIP),
            ("{}", NO_CLIP),
            ('{"model_cfg": 3}', NO_CLIP),
            ({"width": 10**15}, f"{NO_CLIP}|has shape"),
            ({"layers": 128}, "vision_cfg has more layers than the file has tensors"),
            ({"layers": 10**9}, r"layers: 1000000000, expected at least 1 and at most 128"),
            ({"layers": [10**9] * 4}, NO_CLIP),
            ({"timm_model_name": "resnet18", "timm_model_pretrained": True}, "timm_model_name"),
            ({"patch_size": 0}, NO_CLIP),
        ],
    )
    def test_a_wrong_header_is_told(self, path, header, problem):
        if isinstance(header, dict):
            model_cfg = self.full | {"vision_cfg": self.full["vision_cfg"] | header}
            header = json.dumps({"model_cfg": model_cfg})
        save_file(load_file(path), path, {"clip_config": header})
        with pytest.raises(WeightsError, match=problem) as caught:
            load_clip(path)
        assert len(str(caught.value).splitlines()) == 1

    @pytest.mark.parametrize("keep", [0, 4, 1000])
    def test_a_cut_file_is_refused(self, path, keep):
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(WeightsError, match=r"clip\.safetensors"):
            load_clip(path)


class TestForeignFiles:
    """As OpenAI's and open_clip's files of a model `tiny`."""

    @pytest.fixture(autouse=True)
    def _tiny(self, monkeypatch, config):
        known = {"tiny": config["model_cfg"], "hf": {"custom_text": True} | model_cfg()}
        known["resnet"] = model_cfg(layers=[1, 1, 1, 1])
        real = {name: json.dumps(value) for name, value in known.items()}
        monkeypatch.setattr(
            open_clip, "get_model_config", lambda name: json.loads(real.get(name, "null"))
        )

    @pytest.mark.parametrize("suffix", ["pt", "safetensors"])
    def test_a_state_dict_needs_its_models_name(self, tmp_path, config, suffix):
        model, path, x = build_clip(config).eval(), tmp_path / f"w.{suffix}", pixels()
        (torch.save if suffix == "pt" else save_file)(model.state_dict(), path)
        encoder = load_clip(path, "tiny")
        torch.testing.assert_close(encoder.encode_image(x), model.visual(x))
        assert encoder.provenance["model"] == "tiny"
        with pytest.raises(WeightsError, match="names no model"):
            load_clip(path)

    def test_openais_archive_is_float32_with_quickgelu(self, tmp_path, config):
        model, path, x = build_clip(config).eval(), tmp_path / "w.pt", pixels()
        example = (x, open_clip.tokenize(TEXTS[:2], 16))
        model.register_buffer("input_resolution", torch.tensor(32))
        torch.jit.trace(model, example).save(str(path))
        encoder = load_clip(path, "tiny")
        quick = build_clip({"model_cfg": config["model_cfg"] | {"quick_gelu": True}}).eval()
        quick.load_state_dict(model.state_dict(), strict=False)
        assert {p.dtype for p in encoder.parameters()} == {torch.float32}
        assert encoder.config["model_cfg"]["quick_gelu"]
        torch.testing.assert_close(encoder.encode_image(x), quick.visual(x))
        torch.testing.assert_close(
            encoder.encode_text(TEXTS),
            quick.encode_text(encoder.tokenize(TEXTS), normalize=True),
        )

    @pytest.mark.parametrize(
        ("name", "problem"),
        [
            ("unheard-of", "knows no model 'unheard-of'"),
            ("hf", "'hf' is no ViT"),
            ("resnet", "'resnet' is no ViT"),
        ],
    )
    def test_other_models_are_refused(self, tmp_path, name, problem):
        path = tmp_path / "w.pt"
        torch.save({}, path)
        with pytest.raises(WeightsError, match=problem):
            load_clip(path, name)

    def test_another_models_file_is_refused(self, tmp_path):
        path = tmp_path / "w.pt"
        torch.save(build_clip({"model_cfg": model_cfg(width=128)}).state_dict(), path)
        with pytest.raises(WeightsError, match=r"w.pt: tensor \S+ has shape"):
            load_clip(path, "tiny")

    def test_open_clips_training_files_are_read(self, tmp_path, config):
        state = {f"module.{k}": v for k, v in build_clip(config).state_dict().items()}
        torch.save({"epoch": 3, "name": "x", "state_dict": state}, tmp_path / "w.pt")
        assert load_clip(tmp_path / "w.pt", "tiny").provenance["model"] == "tiny"
        torch.save([1, 2], tmp_path / "w.pt")
        with pytest.raises(WeightsError, match="holds no state dict"):
            load_clip(tmp_path / "w.pt", "tiny")

    @pytest.mark.parametrize("content", [b"", b"not weights"])
    def test_garbage_and_absence_are_refused(self, tmp_path, content):
        path = tmp_path / "w.pt"
        with pytest.raises(WeightsError, match="no such CLIP weight file"):
            load_clip(path, "tiny")
        path.write_bytes(content)
        with pytest.raises(WeightsError, match="not a readable file of CLIP weights"):
            load_clip(path, "tiny")
