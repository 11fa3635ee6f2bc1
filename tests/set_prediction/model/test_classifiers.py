import math

import pytest
import torch
from torch.nn import functional as F

from hoiclip.set_prediction.model.classifiers import ObjectClassifier, TextClassifier


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("with_bias", [False, True])
def test_text_classifier_is_cosine_similarity(with_bias):
    table, x = torch.randn(4, 6), torch.randn(2, 3, 6)
    bias = torch.randn(4) if with_bias else None
    expected = F.cosine_similarity(x[:, :, None], table, dim=-1)
    if with_bias:
        expected = expected + bias
    classifier = TextClassifier(table, bias)
    torch.testing.assert_close(classifier(x), expected)
    assert not list(classifier.parameters())
    assert ("bias" in classifier.state_dict()) == with_bias


@pytest.mark.parametrize("with_bias", [False, True])
def test_a_trained_text_classifier_starts_as_the_fixed_one(with_bias):
    table, x = torch.randn(4, 6), torch.randn(2, 6)
    bias = torch.randn(4) if with_bias else None
    fixed, trained = (TextClassifier(table, bias, trained=each) for each in (False, True))
    assert torch.equal(fixed(x), trained(x))
    assert {n for n, _ in trained.named_parameters()} == {"table", *["bias"] * with_bias}
    assert set(trained.state_dict()) == set(fixed.state_dict())
    trained.table.data *= 2
    expected = 2 * F.normalize(x, dim=-1) @ F.normalize(table, dim=-1).T
    torch.testing.assert_close(trained(x), expected + (0 if bias is None else bias))


@pytest.mark.parametrize("with_bias", [False, True])
def test_object_logits_are_scaled_similarities_of_projected_features(with_bias):
    """Where there is a bias it stands inside the scale: exp(s) (W x + b)."""
    bias = torch.randn(4) if with_bias else None
    classifier = ObjectClassifier(5, torch.randn(4, 6), math.log(7), bias)
    linear, norm = classifier.projection
    x = torch.randn(2, 5)
    similarity = F.normalize(norm(linear(x)), dim=-1) @ classifier.classifier.table.T
    expected = 7 * (similarity if bias is None else similarity + bias)
    torch.testing.assert_close(classifier(x), expected)
    assert linear.weight.shape == (6, 5)
