"""How well generated images fit their captions, by a frozen CLIP, as a loss."""

import math

import pytest
import torch
import torch.nn.functional as F

from t2igan.features.open_clip import ClipScorer
from t2igan.layers.frozen import Frozen
from t2igan.objective.guidance import (
    ClipContrastive,
    ClipContrastiveConfig,
    ClipSpherical,
    ClipSphericalConfig,
    spherical_distance,
)
from t2igan.types import PrepareContext

SCALE = 5.0


class Embeddings(ClipScorer):
    """Stands in for a CLIP: an image's embedding is its first eight red values, a caption's is looked up."""

    logit_scale = SCALE

    def __init__(self, captions: dict[str, torch.Tensor]):
        super().__init__("unused")
        self.embeddings = captions

    def images(self, images):
        return F.normalize(images[:, 0].flatten(1)[:, :8], dim=1)

    def text(self, captions):
        return torch.stack([self.embeddings[caption] for caption in captions])


def images_of(embeddings) -> torch.Tensor:
    images = torch.zeros(len(embeddings), 3, 4, 4)
    images[:, 0].view(len(embeddings), 16)[:, :8] = embeddings
    return images


def unit(n):
    return F.normalize(torch.randn(n, 8), dim=1)


@pytest.fixture
def words():
    """Six captions: two of thing a, two of b, one each of c and d."""
    return dict(zip(["a1", "a2", "b1", "b2", "c", "d"], unit(6), strict=True))


def contrastive(words, bank=()) -> ClipContrastive:
    term = ClipContrastiveConfig("unused").build()
    term.clip, term.bank = Frozen(Embeddings(words)), list(bank)
    term.embeddings = term.scorer.text(term.bank) if bank else None
    return term


def test_equals_a_loop_over_images_without_captions_of_the_same_thing(words, make_inputs):
    captions, primary = ["a1", "b1", "a2", "c"], ["a", "b", "a", "c"]
    embeddings = unit(4)
    got = contrastive(words).generator(make_inputs(4, generated=images_of(embeddings), captions=captions, primary_captions=primary))
    losses = []
    for i, name in enumerate(primary):
        others = [j for j in range(4) if primary[j] != name]
        scores = SCALE * torch.stack([embeddings[i] @ words[captions[j]] for j in [i, *others]])
        losses.append(-scores.log_softmax(0)[0])
    assert got.item() == pytest.approx(torch.stack(losses).mean().item(), rel=1e-5)


def test_equals_a_loop_over_a_bank_of_captions(words, make_inputs):
    captions, primary, bank = ["a1", "c"], ["a2", "c"], ["a2", "b1", "c", "d"]
    embeddings = unit(2)
    got = contrastive(words, bank).generator(make_inputs(2, generated=images_of(embeddings), captions=captions, primary_captions=primary))
    losses = []
    for embedding, caption, name in zip(embeddings, captions, primary, strict=True):
        scores = SCALE * torch.stack([embedding @ words[c] for c in [caption, *(other for other in bank if other != name)]])
        losses.append(-scores.log_softmax(0)[0])
    assert got.item() == pytest.approx(torch.stack(losses).mean().item(), rel=1e-5)


def test_a_perfect_match_lowers_the_loss(words, make_inputs):
    captions = ["a1", "b1", "c", "d"]
    own = torch.stack([words[caption] for caption in captions])
    term = contrastive(words)
    perfect = term.generator(make_inputs(4, generated=images_of(own), captions=captions, primary_captions=captions))
    shuffled = term.generator(make_inputs(4, generated=images_of(own.roll(1, 0)), captions=captions, primary_captions=captions))
    assert perfect < term.generator(make_inputs(4, generated=images_of(unit(4)), captions=captions, primary_captions=captions)) < shuffled


def test_captions_of_the_same_thing_are_never_negatives(words, make_inputs):
    """A batch of one thing has nothing to contrast with."""
    for bank in ((), ("a",)):
        words = words | {"a": unit(1)[0]}
        inputs = make_inputs(2, generated=images_of(unit(2)), captions=["a1", "a2"], primary_captions=["a", "a"])
        assert contrastive(words, bank).generator(inputs).item() == 0


@pytest.mark.parametrize("config", [ClipContrastiveConfig, ClipSphericalConfig])
def test_an_image_whose_caption_is_left_out_is_held_against_its_first_caption(config, words, make_inputs):
    term = config("unused").build()
    term.clip = Frozen(Embeddings(words))
    images = images_of(unit(2))
    left_out = make_inputs(2, generated=images, captions=["", "c"], primary_captions=["a1", "d"])
    given = make_inputs(2, generated=images, captions=["a1", "c"], primary_captions=["a1", "d"])
    assert term.generator(left_out).item() == term.generator(given).item() > 0


def clip_term(kind, folder, **options):
    config = ClipContrastiveConfig if kind is ClipContrastive else ClipSphericalConfig
    term = config(f"local-dir:{folder}", **options).build()
    assert type(term) is kind
    term.prepare(PrepareContext(torch.device("cpu"), lambda: [f"thing {i}" for i in range(10)], None))
    return term


@pytest.mark.parametrize("kind", [ClipContrastive, ClipSpherical])
def test_following_the_gradient_of_a_real_clip_brings_the_image_closer_to_its_caption(kind, open_clip_folder, make_inputs):
    term = clip_term(kind, open_clip_folder)
    images = (torch.rand(2, 3, 20, 20) - 0.5).requires_grad_()
    fields = dict(captions=["a red heart", "a cat"], primary_captions=["heart", "cat"])
    loss = term.generator(make_inputs(2, generated=images, **fields))
    (gradient,) = torch.autograd.grad(loss, images)
    assert (gradient.flatten(1).abs().amax(1) > 0).all()
    step = 0.02 * gradient / gradient.abs().max()
    assert term.generator(make_inputs(2, generated=(images - step).detach(), **fields)) < loss
    assert not any(p.requires_grad for p in term.scorer.clip.parameters())
    assert not term.state_dict() and not list(term.parameters()), "the CLIP is in no checkpoint"


def test_the_bank_is_an_even_sample_of_the_first_captions(open_clip_folder):
    assert clip_term(ClipContrastive, open_clip_folder, negatives=4).bank == ["thing 0", "thing 2", "thing 5", "thing 7"]
    assert clip_term(ClipContrastive, open_clip_folder, negatives=99).bank == [f"thing {i}" for i in range(10)]
    assert clip_term(ClipContrastive, open_clip_folder).bank == []


def test_spherical_distance_at_known_angles():
    u = F.normalize(torch.randn(3, 8, dtype=torch.float64), dim=1)
    v = F.normalize(torch.randn(3, 8, dtype=torch.float64), dim=1)
    v = F.normalize(v - (u * v).sum(1, keepdim=True) * u, dim=1)
    assert torch.equal(spherical_distance(u, u), torch.zeros(3, dtype=torch.float64))
    assert torch.allclose(spherical_distance(u, -u), torch.full((3,), math.pi**2, dtype=torch.float64), rtol=1e-6)
    for angle in torch.linspace(0.1, 3.1, 7, dtype=torch.float64):
        w = angle.cos() * u + angle.sin() * v
        assert torch.allclose(spherical_distance(u, w), (angle**2).expand(3), rtol=1e-6)


def test_spherical_distance_grows_with_the_angle():
    u, v = torch.eye(2, dtype=torch.float64)
    angles = torch.linspace(0, math.pi, 50, dtype=torch.float64)[:, None]
    distances = spherical_distance(u.expand(50, 2), angles.cos() * u + angles.sin() * v)
    assert (distances.diff() > 0).all()


@pytest.mark.parametrize("sign", [1, -1])
def test_a_perfect_image_and_an_opposite_one_have_finite_gradients(sign):
    u = F.normalize(torch.randn(2, 8), dim=1)
    v = (sign * u).requires_grad_()
    spherical_distance(u, v).sum().backward()
    assert torch.isfinite(v.grad).all()


def test_of_large_images_clip_sees_one_square_each(open_clip_folder, make_inputs):
    images, seen = torch.randn(3, 3, 24, 24), []
    term = clip_term(ClipSpherical, open_clip_folder, crop=16)
    term.scorer.images = lambda x: seen.append(x) or torch.ones(len(x), 4)
    for size in (24, 16):
        term.embeddings_of_images(make_inputs(3, generated=images[..., :size, :size]))
    assert [x.shape[-1] for x in seen] == [16, 16] and seen[1].equal(images[..., :16, :16])
    for image, square in zip(images, seen[0], strict=True):
        places = [(y, x) for y in range(9) for x in range(9) if image[:, y : y + 16, x : x + 16].equal(square)]
        assert len(places) == 1
