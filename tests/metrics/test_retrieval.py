"""Ranks that can be counted by hand."""

import pytest
import torch
import torch.nn.functional as F

from t2igan.metrics.retrieval import retrieval


def test_ranks_counted_by_hand():
    """Similarities of four images to four captions; each image shows the caption of its own number."""
    similarity = torch.tensor([[0.9, 0.1, 0.2, 0.3], [0.8, 0.7, 0.1, 0.0], [0.9, 0.8, 0.7, 0.1], [0.9, 0.8, 0.7, 0.6]])  # ranks 1, 2, 3, 4
    found = retrieval(similarity, torch.eye(4), [0, 1, 2, 3], candidates=4, ks=(1, 2, 3, 4))
    assert found == {1: 0.25, 2: 0.5, 3: 0.75, 4: 1.0}


def test_a_tie_is_no_success():
    assert retrieval(torch.ones(1, 3), torch.eye(3), [0], candidates=3, ks=(1, 3)) == {1: 0.0, 3: 1.0}


def test_several_images_of_one_caption():
    images = torch.eye(3)[[1, 1, 2, 0]]
    assert retrieval(images, torch.eye(3), [1, 1, 2, 1], candidates=3, ks=(1,)) == {1: 0.75}


def test_chance_is_one_over_the_candidates():
    images, captions = F.normalize(torch.randn(4000, 16), dim=1), F.normalize(torch.randn(50, 16), dim=1)
    found = retrieval(images, captions, torch.randint(50, (4000,)).tolist(), candidates=10)
    assert found[1] == pytest.approx(0.1, abs=0.02)
    assert found[5] == pytest.approx(0.5, abs=0.04)


def test_the_draw_is_fixed_by_its_seed():
    images, captions, truth = F.normalize(torch.randn(300, 8), dim=1), F.normalize(torch.randn(50, 8), dim=1), [3] * 300
    first = retrieval(images, captions, truth, 5)
    torch.manual_seed(77)
    assert retrieval(images, captions, truth, 5) == first
    assert retrieval(images, captions, truth, 5, seed=1) != first


def test_siblings_are_always_among_the_others():
    """The image looks more like caption 7 than like its own: with 7 always there it is never found, otherwise often."""
    captions = torch.eye(40)
    image = 0.6 * captions[0] + 0.8 * captions[7]
    often = retrieval(image.expand(200, -1), captions, [0] * 200, candidates=4, ks=(1, 2))
    assert often[1] > 0.8
    assert retrieval(image.expand(200, -1), captions, [0] * 200, candidates=4, ks=(1, 2), always=[7]) == {1: 0.0, 2: 1.0}
    assert retrieval(image.expand(200, -1), captions, [0] * 200, candidates=4, ks=(1,), always=[0])[1] == often[1]  # its own is no other


def test_of_more_siblings_than_fit_each_image_has_its_own_sample():
    """The image is taken for caption 7 where that is among the three others, which come from the thirty siblings."""
    captions = torch.eye(40)
    image = 0.6 * captions[0] + 0.8 * captions[7]
    found = retrieval(image.expand(400, -1), captions, [0] * 400, candidates=4, ks=(1,), always=list(range(1, 31)))
    assert abs(found[1] - 0.9) < 0.05


def test_too_few_captions():
    with pytest.raises(ValueError, match="100 candidates need as many captions, got 3"):
        retrieval(torch.eye(3), torch.eye(3), [0, 1, 2], candidates=100)
