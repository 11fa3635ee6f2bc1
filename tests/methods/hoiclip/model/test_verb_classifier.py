import pytest
import torch
from torch.nn import functional as F

from hoiclip.methods.hoiclip.model.verb_classifier import VerbClassifier


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


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
