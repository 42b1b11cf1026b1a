"""Feature networks: the published resizes, the features of the libraries they come from, and gradients that reach the images."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.feature_extractor_vgg16 import FeatureExtractorVGG16

from t2igan.data.images import to_signed
from t2igan.errors import UserError
from t2igan.features.inception import Inception, initialise
from t2igan.features.open_clip import ClipScorer
from t2igan.features.resize import pillow_bicubic, pillow_bicubic_of_bytes, tensorflow_bilinear, to_255
from t2igan.features.vgg import CHANNELS, MAPS, Vgg16
from t2igan.features.vision_transformer import VisionTransformer

BYTES = torch.randint(0, 256, (3, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))
IMAGES = to_signed(BYTES)


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
    pool, logits = reference(BYTES)
    got = inception(IMAGES)
    assert torch.allclose(got["pool"], pool, rtol=1e-4, atol=1e-6) and pool.std() > 0.05
    assert torch.allclose(got["logits"], logits, rtol=1e-4, atol=1e-4)
    assert torch.allclose(got["spatial"], maps[0][:, :7].flatten(1), rtol=1e-4, atol=1e-6) and got["spatial"].shape == (3, 7 * 17 * 17)


def test_inception_read_from_its_file(inception, tmp_path):
    torch.save(inception.state_dict(), tmp_path / "w.pth")
    again = Inception("tensorflow", ("pool",), tmp_path / "w.pth")
    again.load_pretrained()
    assert torch.equal(again(IMAGES)["pool"], inception(IMAGES)["pool"])
    assert len(again.provenance()["weights"]) == 64 and again.fingerprint() != inception.fingerprint()


def test_random_networks_of_two_seeds_differ_and_of_one_do_not(inception):
    for seed, same in ((1, True), (2, False)):
        other = Inception("tensorflow", ("pool",), seed=seed)
        other.load_pretrained()
        assert torch.equal(other.fc.weight, inception.fc.weight) == same


def pillow(image: torch.Tensor, side: int) -> torch.Tensor:
    """One plane, of bytes or of floats, by Pillow's bicubic."""
    mode = "L" if image.dtype == torch.uint8 else "F"
    resized = Image.fromarray(image.numpy(), mode=mode).resize((side, side), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(resized, dtype=np.float32))


@pytest.mark.parametrize("shape", [(40, 40), (299, 299), (224, 224), (300, 640), (512, 512)])
def test_both_pillow_resizes_are_pillows_bit_for_bit(shape):
    image = torch.randint(0, 256, (1, 3, *shape), dtype=torch.uint8)
    for channel in range(3):
        plane = image[0, channel]
        assert torch.equal(pillow_bicubic(image.float(), 299)[0, channel], pillow(plane.float(), 299).clamp(0, 255))
        assert torch.equal(pillow_bicubic_of_bytes(to_255(to_signed(image)), 224)[0, channel], pillow(plane, 224))


def test_a_resize_to_the_same_size_changes_nothing():
    whole = torch.randint(0, 256, (1, 3, 299, 299)).float()
    for resize in (tensorflow_bilinear, pillow_bicubic, pillow_bicubic_of_bytes):
        assert torch.equal(resize(whole, 299), whole)


def test_only_the_clean_resize_averages_when_it_reduces():
    """Lines of one pixel at 897 px: reduced by three they are a third grey, or all or nothing."""
    lines = torch.zeros(1, 3, 897, 897)
    lines[..., ::3] = 255
    clean = pillow_bicubic(lines, 299)
    assert clean[..., 10:-10].std() < 1 and clean.mean().item() == pytest.approx(85, abs=1)
    assert tensorflow_bilinear(lines, 299).unique().tolist() == [255]


@pytest.mark.parametrize("side", [10, 30])
def test_rounding_in_a_resize_leaves_the_gradient_alone(side):
    images = (torch.rand(1, 3, 20, 20) * 40 + 100).requires_grad_()  # nothing is clipped
    weights = torch.randn(1, 3, side, side)
    (smooth,) = torch.autograd.grad((pillow_bicubic(images, side) * weights).sum(), images)
    (rounded,) = torch.autograd.grad((pillow_bicubic_of_bytes(images, side) * weights).sum(), images)
    assert smooth.any() and torch.allclose(rounded, smooth, atol=1e-4)


@pytest.mark.slow
def test_vgg_is_torch_fidelitys(tmp_path):
    torch.manual_seed(0)
    network = Vgg16()
    torch.save(network.network.state_dict(), tmp_path / "vgg.pth")
    network.weights = tmp_path / "vgg.pth"
    network.load_pretrained()
    expected = FeatureExtractorVGG16("v", ["fc2_relu"], str(tmp_path / "vgg.pth"))(BYTES[:2])[0]
    assert torch.allclose(network(IMAGES[:2])["fc2"], expected, rtol=1e-4, atol=1e-6) and expected.std() > 0
    check_gradients(network)


def test_vggs_maps_are_those_after_its_last_relu_before_each_pooling(tmp_path):
    torch.manual_seed(0)
    network = Vgg16(tmp_path / "vgg.pth", tuple(MAPS), resize=False)
    torch.save(network.network.state_dict() | {"classifier.0.weight": torch.zeros(1)}, tmp_path / "vgg.pth")
    network.load_pretrained()
    found, features = network(IMAGES), network.network.features
    assert [x.shape[1] for x in found.values()] == list(CHANNELS.values())
    assert [x.shape[2] for x in found.values()] == [40, 20, 10, 5, 2]
    pooled = [layer for layer, kind in enumerate(features) if isinstance(kind, torch.nn.MaxPool2d)] + [len(features)]
    x = (IMAGES / 2 + 0.5 - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    for end, value in zip(pooled, found.values(), strict=True):
        assert torch.allclose(features[:end](x), value, atol=1e-4)
    assert network(IMAGES[..., :16, :16])["relu5_3"].shape == (3, 512, 1, 1)
    assert not any("classifier" in name for name in network.state_dict())
    with pytest.raises(UserError, match=r"VGG16 has no layer 'relu9'; its layers are relu1_2, .*fc2"):
        Vgg16(layers=("relu9",))


def test_a_vision_transformer_gives_its_class_token(tmp_path):
    torch.manual_seed(0)
    network = VisionTransformer(None, "vit_tiny_patch16_224")
    with pytest.raises(UserError, match=r"weights are not given; get model.safetensors from .*--weights dinov2=FILE"):
        network.load_pretrained()
    save_file(network.network.state_dict() | {"head.weight": torch.zeros(1000, 192)}, tmp_path / "vit.safetensors")
    network.weights = tmp_path / "vit.safetensors"
    network.load_pretrained()
    got = network(IMAGES)["class"]
    resized = [np.asarray(Image.fromarray(p.permute(1, 2, 0).numpy()).resize((224, 224), Image.Resampling.BICUBIC)) for p in BYTES]
    x = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        assert torch.allclose(got, network.network.forward_features((x - 0.5) / 0.5)[:, 0], rtol=1e-4, atol=1e-5)  # its mean and deviation


def test_a_vision_transformer_gives_the_map_after_a_block():
    torch.manual_seed(0)
    network = VisionTransformer(None, "vit_tiny_patch16_224", ("block4", "class", "block1")).eval()
    states = {}
    for number in (1, 4):
        network.network.blocks[number].register_forward_hook(lambda module, inputs, output, n=number: states.update({f"block{n}": output}))
    found = network(IMAGES)
    assert list(found) == ["block4", "class", "block1"]
    for name, state in states.items():
        assert found[name].shape == (3, 192, 14, 14)
        assert torch.equal(found[name].flatten(2).movedim(1, 2), state[:, 1:])
    maps_alone = VisionTransformer(None, "vit_tiny_patch16_224", ("block1",)).eval()
    maps_alone.load_state_dict(network.state_dict())
    assert torch.equal(maps_alone(IMAGES)["block1"], found["block1"])
    with pytest.raises(UserError, match=r"has no layer 'block12'; its layers are class, block0, block1, ..., block11"):
        VisionTransformer(None, "vit_tiny_patch16_224", ("block12",))


@pytest.mark.parametrize("make", [
    lambda: Inception("tensorflow", ("pool", "spatial", "logits")), lambda: Inception("clean", ("pool",)),
    lambda: Vgg16(layers=tuple(MAPS), resize=False), lambda: VisionTransformer(None, "vit_tiny_patch16_224", ("class", "block3")),
])  # fmt: skip
def test_gradients_of_every_layer_reach_the_images(make):
    torch.manual_seed(0)
    network = make().eval().requires_grad_(False)
    if isinstance(network, Inception):
        initialise(network, 0)
    check_gradients(network)


def check_gradients(network):
    images = (torch.rand(2, 3, 64, 64) * 2 - 1).requires_grad_()
    for layer, value in network(images).items():
        assert value.dtype == torch.float32
        (gradient,) = torch.autograd.grad(value.square().sum(), images, retain_graph=True)
        assert gradient.isfinite().all() and gradient.flatten(1).any(1).all(), layer


def test_clips_features_are_the_embedding_and_the_maps(open_clip_folder):
    name = f"local-dir:{open_clip_folder}"
    clip, aliased = ClipScorer(name, layers=("block0", "embedding")), ClipScorer(name, antialias=False)
    clip.load_pretrained()
    aliased.load_pretrained()
    found = clip(IMAGES)
    assert list(found) == ["block0", "embedding"]
    assert torch.equal(found["embedding"], clip.images(IMAGES)) and torch.equal(found["block0"], clip.maps(IMAGES, [0])[0])
    assert found["block0"].shape == (3, 32, 2, 2)
    assert not torch.allclose(aliased(IMAGES)["embedding"], found["embedding"], atol=1e-4)
    assert aliased.fingerprint() != clip.fingerprint() and aliased.digest == clip.digest
    with pytest.raises(UserError, match="has no layer 'pool'; its layers are embedding, blockN"):
        ClipScorer(name, layers=("pool",))
    deep = ClipScorer(name, layers=("block1",))
    deep.load_pretrained()
    with pytest.raises(UserError, match="has 1 layers, 0 to 0, not 1"):
        deep(IMAGES)
