import math

import pytest
import torch
from torch.nn import functional as F

from hoiclip.methods.hoiclip.verb_classifier import VerbClassifier
from hoiclip.model.classifiers import ObjectClassifier, TextClassifier


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


def test_verb_logits_are_spread_to_the_hoi_classes_of_the_verb():
    vectors, verb_of_hoi = torch.randn(3, 6), [2, 0, 0, 1, 2]
    verb_to_hoi = torch.zeros(3, 5)
    for hoi, verb in enumerate(verb_of_hoi):
        verb_to_hoi[verb, hoi] = 1
    classifier = VerbClassifier(vectors, verb_to_hoi, 4)
    x = torch.randn(2, 6)
    a, b, c = classifier.adapter.layers
    adapted = c(torch.relu(b(torch.relu(a(x)))))
    similarity = F.normalize(adapted, dim=-1) @ vectors.T
    torch.testing.assert_close(classifier(x), similarity[:, verb_of_hoi])
    assert [layer.weight.shape for layer in (a, b, c)] == [(4, 6), (4, 4), (6, 4)]


def test_verb_vectors_are_trained_and_not_renormalised():
    vectors = torch.randn(3, 6) * 4
    classifier = VerbClassifier(vectors, torch.eye(3), 4)
    assert classifier.vectors.requires_grad
    torch.testing.assert_close(classifier.vectors.data, vectors)
    x = torch.randn(2, 6)
    before = classifier(x)
    classifier.vectors.data *= 2
    torch.testing.assert_close(classifier(x), 2 * before)
    assert classifier.vectors.data_ptr() != vectors.data_ptr()
