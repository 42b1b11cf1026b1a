"""Frozen networks of evaluation: the published resizes, and the same features as the libraries they come from."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.feature_extractor_vgg16 import FeatureExtractorVGG16

from t2igan.errors import UserError
from t2igan.features.inception import Inception, resize_clean, resize_tensorflow
from t2igan.features.open_clip import ClipFeatures, ClipScorer
from t2igan.features.vgg import Vgg16
from t2igan.features.vision_transformer import VisionTransformer

PICTURES = torch.randint(0, 256, (3, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def inception():
    network = Inception("tensorflow", ("pool", "spatial", "logits"), seed=1)
    network.load_pretrained()
    return network


def test_inception_is_torch_fidelitys_layer_by_layer(inception, tmp_path):
    torch.save(inception.state_dict(), tmp_path / "w.pth")
    reference = FeatureExtractorInceptionV3("i", ["2048", "logits_unbiased"], str(tmp_path / "w.pth"))
    maps = []
    reference.Mixed_6d.branch1x1.register_forward_hook(lambda module, inputs, output: maps.append(output))
    pool, logits = reference(PICTURES)
    got = inception(PICTURES)
    assert torch.allclose(got["pool"], pool, rtol=1e-4, atol=1e-6) and pool.std() > 0.05
    assert torch.allclose(got["logits"], logits, rtol=1e-4, atol=1e-4)
    assert torch.allclose(got["spatial"], maps[0][:, :7].flatten(1), rtol=1e-4, atol=1e-6) and got["spatial"].shape == (3, 7 * 17 * 17)


def test_inception_read_from_its_file(inception, tmp_path):
    torch.save(inception.state_dict(), tmp_path / "w.pth")
    again = Inception("tensorflow", ("pool",), tmp_path / "w.pth")
    again.load_pretrained()
    assert torch.equal(again(PICTURES)["pool"], inception(PICTURES)["pool"])
    assert len(again.account()["weights"]) == 64 and again.fingerprint() != inception.fingerprint()


def test_random_networks_of_two_seeds_differ_and_of_one_do_not(inception):
    for seed, same in ((1, True), (2, False)):
        other = Inception("tensorflow", ("pool",), seed=seed)
        other.load_pretrained()
        assert torch.equal(other.fc.weight, inception.fc.weight) == same


def test_the_clean_resize_is_pillows_channel_by_channel():
    got = resize_clean(PICTURES)
    plane = Image.fromarray(PICTURES[1, 2].numpy().astype(np.float32), mode="F")
    assert torch.equal(got[1, 2], torch.from_numpy(np.asarray(plane.resize((299, 299), Image.Resampling.BICUBIC)).copy()).clamp(0, 255))
    whole = torch.randint(0, 256, (1, 3, 299, 299), dtype=torch.uint8)
    assert torch.equal(resize_clean(whole), whole.float())


def test_only_the_clean_resize_averages_when_it_reduces():
    """Lines of one pixel at 897 px: reduced by three they are a third grey, or all or nothing."""
    lines = torch.zeros(1, 3, 897, 897, dtype=torch.uint8)
    lines[..., ::3] = 255
    assert resize_clean(lines)[..., 10:-10].std() < 1 and resize_clean(lines).mean().item() == pytest.approx(85, abs=1)
    assert resize_tensorflow(lines).unique().tolist() == [255]


def test_vgg_is_torch_fidelitys(tmp_path):
    torch.manual_seed(0)
    network = Vgg16()
    torch.save(network.network.state_dict(), tmp_path / "vgg.pth")
    network.weights = tmp_path / "vgg.pth"
    network.load_pretrained()
    expected = FeatureExtractorVGG16("v", ["fc2_relu"], str(tmp_path / "vgg.pth"))(PICTURES[:2])[0]
    assert torch.allclose(network(PICTURES[:2])["fc2"], expected, rtol=1e-4, atol=1e-6) and expected.std() > 0


def test_a_vision_transformer_gives_its_class_token(tmp_path):
    torch.manual_seed(0)
    network = VisionTransformer(None, "vit_tiny_patch16_224")
    with pytest.raises(UserError, match=r"weights are not given; get model.safetensors from .*--weights dinov2=FILE"):
        network.load_pretrained()
    save_file(network.network.state_dict() | {"head.weight": torch.zeros(1000, 192)}, tmp_path / "vit.safetensors")
    network.weights = tmp_path / "vit.safetensors"
    network.load_pretrained()
    got = network(PICTURES)["class"]
    resized = [np.asarray(Image.fromarray(p.permute(1, 2, 0).numpy()).resize((224, 224), Image.Resampling.BICUBIC)) for p in PICTURES]
    x = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        assert torch.allclose(got, network.network.forward_features((x - 0.5) / 0.5)[:, 0], rtol=1e-4, atol=1e-5)  # its mean and deviation


def test_clip_features_are_the_scorers(open_clip_folder):
    features = ClipFeatures(f"local-dir:{open_clip_folder}")
    features.load_pretrained()
    scorer = ClipScorer(f"local-dir:{open_clip_folder}")
    scorer.load_pretrained()
    with torch.no_grad():
        assert torch.allclose(features(PICTURES)["embedding"], scorer.images(PICTURES / 127.5 - 1), atol=1e-6)
    assert torch.equal(features.text(["a cat"]), scorer.text(["a cat"]))
    aliased = ClipFeatures(f"local-dir:{open_clip_folder}", antialias=False)
    aliased.load_pretrained()
    assert not torch.allclose(aliased(PICTURES)["embedding"], features(PICTURES)["embedding"], atol=1e-4)
    assert aliased.fingerprint() != features.fingerprint()
