"""LPIPS against torch-fidelity's, and the axioms of a distance."""

import pytest
import torch
from torch_fidelity import sample_similarity_lpips as reference
from torchvision.models import vgg16

from t2igan.errors import UserError
from t2igan.features.lpips import Lpips
from t2igan.features.vgg import CHANNELS


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Both files, in the form of the published ones, random."""
    folder = tmp_path_factory.mktemp("lpips")
    torch.manual_seed(0)
    vgg, heads = vgg16().state_dict(), {f"lin{i}.model.1.weight": torch.rand(1, c, 1, 1) for i, c in enumerate(CHANNELS.values())}
    torch.save(vgg, folder / "vgg.pth")
    torch.save(heads, folder / "heads.pth")
    return folder, vgg, heads


@pytest.fixture(scope="module")
def lpips(weights):
    network = Lpips(weights[0] / "vgg.pth", weights[0] / "heads.pth")
    network.load_pretrained()
    return network


def test_it_is_torch_fidelitys(lpips, weights, monkeypatch):
    _, vgg, heads = weights

    def backbone():
        network = vgg16()
        network.load_state_dict(vgg)
        return network

    monkeypatch.setattr(reference, "load_state_dict_from_url", lambda *arguments, **options: heads)
    monkeypatch.setattr(reference, "torchvision_load_pretrained_vgg16", backbone)
    theirs = reference.SampleSimilarityLPIPS("lpips")
    a, b = torch.randint(0, 256, (2, 3, 3, 40, 40), dtype=torch.uint8)
    expected = theirs(a, b).flatten()
    got = lpips(a / 127.5 - 1, b / 127.5 - 1)
    assert got.shape == (3,) and expected.std() > 0
    assert torch.allclose(got, expected, rtol=1e-4)


def test_an_image_has_no_distance_from_itself_and_the_distance_is_symmetric(lpips):
    a, b = torch.rand(2, 2, 3, 32, 32) * 2 - 1
    assert lpips(a, a).abs().max() == 0
    assert torch.allclose(lpips(a, b), lpips(b, a)) and (lpips(a, b) > 0).all()


def test_gradients_reach_the_images_and_not_the_network(lpips):
    a = (torch.rand(1, 3, 32, 32) * 2 - 1).requires_grad_()
    lpips(a, -a.detach()).sum().backward()
    assert a.grad.isfinite().all() and a.grad.any()
    assert not any(p.requires_grad for p in lpips.parameters())


def test_heads_of_something_else_are_refused(weights, tmp_path):
    torch.save({"lin0.model.1.weight": torch.rand(1, 64, 1, 1)}, tmp_path / "heads.pth")
    with pytest.raises(UserError, match="weights of another network"):
        Lpips(weights[0] / "vgg.pth", tmp_path / "heads.pth").load_pretrained()
