"""Which captions are sampled, at which size images are compared, what text CLIP gets."""

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from t2igan.data.images import center_square, to_bytes
from t2igan.errors import UserError
from t2igan.metrics.protocol import PROTOCOLS, captions_hash, given_requests, sample_requests
from t2igan.text.open_clip import load_open_clip

STYLEGAN_T, GIGAGAN = PROTOCOLS["stylegan_t"], PROTOCOLS["gigagan"]
CAPTIONS = [[f"picture {i} says {j}" for j in range(5)] for i in range(60)]


def test_the_same_arguments_draw_the_same_captions_and_others_do_not():
    drawn = sample_requests(CAPTIONS, STYLEGAN_T, 200, seed=0)
    assert captions_hash(drawn) == captions_hash(sample_requests(CAPTIONS, STYLEGAN_T, 200, seed=0))
    assert captions_hash(drawn) == "e104f508fca7ab940949d5b58c35a3e4ac998db2737bd7bbf5131dc8ed7cdfae"
    others = [sample_requests(CAPTIONS, STYLEGAN_T, 200, seed=1), sample_requests(CAPTIONS, GIGAGAN, 60, seed=0), drawn[:-1]]
    assert len({captions_hash(requests) for requests in [drawn, *others]}) == 4
    assert len({request.seed for request in drawn}) == 200


def test_with_repeats_and_without():
    repeated = sample_requests(CAPTIONS, STYLEGAN_T, 200, seed=0)
    by_image = {}
    for request in repeated:
        assert request.caption in CAPTIONS[request.reference]
        by_image.setdefault(request.reference, set()).add(request.caption)
    assert all(len(captions) == 1 for captions in by_image.values())  # one caption per image
    once = sample_requests(CAPTIONS, GIGAGAN, 60, seed=0)
    assert sorted(request.reference for request in once) == list(range(60))
    with pytest.raises(UserError, match="61 captions without repeats need as many reference images, got 60; lower --count"):
        sample_requests(CAPTIONS, GIGAGAN, 61, seed=0)


def test_a_recorded_list_is_taken_as_it_is():
    assert [request.caption for request in given_requests(["b", "a", "b"], seed=0)] == ["b", "a", "b"]
    with pytest.raises(UserError, match="list of captions is empty"):
        given_requests([], seed=0)
    with pytest.raises(UserError, match="caption 2 of 3 is empty"):
        given_requests(["a", " ", "b"], seed=0)


def test_sizes_of_both_protocols():
    assert [STYLEGAN_T.side(r) for r in (32, 64, 256, 512)] == [32, 64, 256, 256]
    assert [GIGAGAN.side(r) for r in (32, 64, 256, 512)] == [256] * 4
    assert GIGAGAN.with_extractor("torch_fidelity").extractor == "torch_fidelity" and GIGAGAN.with_extractor(None).extractor == "clean_fid"
    with pytest.raises(UserError, match="needs one of torch_fidelity, clean_fid"):
        GIGAGAN.with_extractor("vgg")


def photo(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize(("width", "height"), [(640, 480), (427, 640), (333, 500), (300, 300), (200, 120)])
def test_the_crop_is_whole_pixels_and_the_reduction_pillows_lanczos(width, height):
    side, image = min(width, height), photo(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    pixels = np.asarray(image)[top : top + side, left : left + side]
    expected = np.asarray(Image.fromarray(pixels).resize((256, 256), Image.Resampling.LANCZOS))
    assert np.array_equal(np.asarray(center_square(image, 256)), expected)


def test_the_64_px_route_goes_by_256():
    """StyleGAN-T's release keeps 256 px PNGs and reduces those: not the photo itself to 64."""
    image = photo(500, 375)
    stored = center_square(image, 256)
    got = np.asarray(center_square(stored, STYLEGAN_T.side(64)))
    assert np.array_equal(got, np.asarray(stored.resize((64, 64), Image.Resampling.LANCZOS)))
    assert not np.array_equal(got, np.asarray(center_square(image, 64)))


def test_our_bytes_are_the_releases_bytes():
    """x * 127.5 + 128, cut off, is our rounding, but for values in the middle between two bytes."""
    x = torch.linspace(-1.2, 1.2, 300 * 300, dtype=torch.float64)
    theirs = (x * 127.5 + 128).clamp(0, 255).to(torch.uint8)
    middle = ((x + 1) * 127.5 % 1 - 0.5).abs() < 1e-4
    ours = to_bytes(x.view(1, 1, 300, 300).expand(1, 3, 300, 300))[0, 0].flatten()
    assert torch.equal(ours[~middle], theirs[~middle])


@pytest.mark.parametrize("caption", ["A cat.", "two dogs on a skateboard, at NIGHT", "word " * 90, "x" * 300])
def test_the_prefix_is_gigagans_token_surgery(caption):
    """Their script puts the prefix's tokens after the start, cuts to 77 and ends with the end token."""
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    start, end = tokenizer.sot_token_id, tokenizer.eot_token_id
    joined = [start, *tokenizer.encode("A photo depicts"), *tokenizer.encode(caption), end][:77]
    joined[-1] = end
    expected = torch.zeros(77, dtype=torch.long)
    expected[: len(joined)] = torch.tensor(joined)
    assert torch.equal(tokenizer([GIGAGAN.prompt(caption)])[0], expected)
    assert STYLEGAN_T.prompt(caption) == caption


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS.keys())
def test_the_scorer_has_the_activation_its_weights_were_trained_with(protocol):
    trained = open_clip.get_pretrained_cfg(protocol.clip, protocol.clip_pretrained)
    assert trained and trained.get("quick_gelu", False) == open_clip.get_model_config(protocol.clip).get("quick_gelu", False)


def test_a_name_of_another_activation_is_refused_before_anything_is_read():
    with pytest.raises(UserError, match="trained with another activation than ViT-B-32 has; the model is ViT-B-32-quickgelu"):
        load_open_clip("ViT-B-32", "openai")
