import torch

from hoiclip.images.store import ImageStore
from hoiclip.set_prediction.dataset import TrainingDataset
from hoiclip.training.features import CachedFeatures, ComputedFeatures

CPU = torch.device("cpu")


def test_cached_features_are_those_of_the_views_shown(toy, make_detector):
    detector = make_detector()
    store = ImageStore(toy.paths.images)
    dataset = TrainingDataset(
        toy.train,
        store,
        toy.vocabulary,
        detector.transforms,
        max_boxes=3,
        seed=0,
        clip_view=detector.method.clip.preprocess,
    )
    batch = dataset.collate([dataset.sample(i, 0) for i in range(len(dataset))])
    assert set(batch.flipped) == {True, False}
    method, names = detector.method, dataset.file_names
    cached = CachedFeatures(
        method.frozen_features,
        lambda index: method.clip_view(store.read(names[index])),
        len(names),
        CPU,
    )(batch)
    computed = ComputedFeatures(method.frozen_features, CPU)(batch)
    # Mirrored before or after resizing: a grey level of one pixel here and there.
    torch.testing.assert_close(cached[0], computed[0], atol=0.02, rtol=0.02)
    torch.testing.assert_close(cached[1], computed[1], atol=5e-3, rtol=0.02)
    mirrored = detector.method.clip.encode_image_tokens(batch.clip_pixels.flip(-1))
    for found, wrong in zip(cached[0], mirrored.tokens, strict=True):
        assert not torch.allclose(found, wrong, atol=0.02)
