import torch

from hoiclip.data.dataset import TrainingDataset, collate
from hoiclip.data.images import ImageStore
from hoiclip.training.clip_features import CachedFeatures, ComputedFeatures

CPU = torch.device("cpu")


def test_cached_features_are_those_of_the_views_shown(toy, make_detector):
    detector = make_detector()
    store = ImageStore(toy.paths.images)
    dataset = TrainingDataset(
        toy.train,
        store,
        toy.vocabulary,
        detector.transforms,
        max_pairs=3,
        seed=0,
        clip_preprocess=detector.clip.preprocess,
    )
    batch = collate([dataset[i] for i in (3, 0, 7, 5, 1)])
    assert set(batch.flipped) == {True, False}
    cached = CachedFeatures(detector.clip, store, dataset.file_names, CPU)(batch)
    computed = ComputedFeatures(detector.clip, CPU)(batch)
    # Mirrored before or after resizing: a grey level of one pixel here and there.
    torch.testing.assert_close(cached.tokens, computed.tokens, atol=0.02, rtol=0.02)
    torch.testing.assert_close(cached.global_feature, computed.global_feature, atol=5e-3, rtol=0.02)
    other = dict(zip(range(5), batch.flipped, strict=True))
    plain = ComputedFeatures(detector.clip, CPU)
    for row, flipped in other.items():
        wrong = plain.clip.encode_image_tokens(batch.clip_pixels[row : row + 1].flip(-1))
        assert not torch.allclose(cached.tokens[row], wrong.tokens[0], atol=0.02), flipped
