"""Our figures against torch-fidelity's on the same images and the same networks, from files to numbers."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch_fidelity import FeatureExtractorBase, calculate_metrics, register_feature_extractor

from t2igan.data.images import to_signed
from t2igan.features.inception import Inception
from t2igan.metrics.frechet import frechet_distance
from t2igan.metrics.inception_score import inception_score
from t2igan.metrics.kernel import kernel_inception_distance
from t2igan.metrics.manifold import manifold

SIDE, KID_SIZE, SPLITS = 48, 12, 4


class SmallNetwork(FeatureExtractorBase):
    """A convolution with fixed weights, pooled to 24 values: fewer than there are images, as features should be."""

    def __init__(self, name, features_list, **options):
        super().__init__(name, features_list)
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.nn.Parameter(torch.randn(24, 3, 7, 7, generator=generator) / 12, requires_grad=False)

    def forward(self, images):
        return (torch.nn.functional.conv2d(images.float() / 255 - 0.5, self.weight, stride=4).relu().mean((2, 3)),)

    @staticmethod
    def get_provided_features_list():
        return ("24",)

    @staticmethod
    def get_default_feature_layer_for_metric(metric):
        return "24"

    @staticmethod
    def can_be_compiled():
        return False


def images(root, count: int):
    """Two folders of images, blots on grounds of two ranges of colour, and the same as bytes."""
    rng = np.random.default_rng(0)
    found = {}
    for name, low, high in (("generated", 0, 200), ("real", 40, 256)):
        folder = root / name
        folder.mkdir()
        coarse = rng.integers(low, high, (count, 6, 6, 3), dtype=np.uint8)
        for number, image in enumerate(coarse):
            Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(folder / f"{number:03d}.png")
        stack = np.stack([np.asarray(Image.open(path)) for path in sorted(folder.iterdir())])
        found[name] = (folder, torch.from_numpy(stack).permute(0, 3, 1, 2))
    return found


def theirs(found, cache, **options):
    folders = {"input1": str(found["generated"][0]), "input2": str(found["real"][0])}
    shared = {"cuda": False, "verbose": False, "samples_shuffle": True, "save_cpu_ram": True, "cache_root": str(cache), "batch_size": 20}
    return calculate_metrics(**folders, **shared, kid_subset_size=KID_SIZE, isc_splits=SPLITS, **options)


def ours(generated, real, logits):
    found = manifold(generated, real)
    kid, kid_deviation = kernel_inception_distance(generated, real, size=KID_SIZE)
    mean, deviation = inception_score(logits, splits=SPLITS)
    return {
        "frechet_inception_distance": frechet_distance(generated, real),
        "kernel_inception_distance_mean": kid,
        "kernel_inception_distance_std": kid_deviation,
        "precision": found.precision,
        "recall": found.recall,
        "inception_score_mean": mean,
        "inception_score_std": deviation,
    }


@pytest.mark.slow  # in `make test`, tests/evaluation/test_zero_shot_coco.py compares the FID of the real Inception
def test_inception_of_the_real_architecture(tmp_path):
    """Every weight random, so that no value is there by chance."""
    found = images(tmp_path, 16)
    network = Inception("tensorflow", ("pool", "logits"), seed=3)
    network.load_pretrained()
    torch.save(network.state_dict(), tmp_path / "inception.pth")
    features = {name: network(to_signed(stack)) for name, (_, stack) in found.items()}
    options = {"feature_extractor_weights_path": str(tmp_path / "inception.pth"), "feature_extractor": "inception-v3-compat"}
    expected = theirs(found, tmp_path, fid=True, kid=True, prc=True, isc=True, **options)
    got = ours(features["generated"]["pool"], features["real"]["pool"], features["generated"]["logits"])
    for name, value in got.items():
        assert value == pytest.approx(expected[name], rel=1e-3, abs=1e-9), name
    assert 0 < got["precision"] < 1 or 0 < got["recall"] < 1


def test_a_small_network_of_ones_own(tmp_path):
    found = images(tmp_path, 40)
    register_feature_extractor("small", SmallNetwork)
    expected = theirs(found, tmp_path, fid=True, kid=True, prc=True, isc=True, feature_extractor="small")
    network = SmallNetwork("small", ["24"])
    generated, real = (network(stack)[0] for _, stack in found.values())
    for name, value in ours(generated, real, generated).items():
        assert value == pytest.approx(expected[name], rel=1e-3), name
