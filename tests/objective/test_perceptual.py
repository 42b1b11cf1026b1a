"""LPIPS as a term of G's loss."""

import pytest
import torch
from tiny import write_lpips

from t2igan.layers.resample import resize_bicubic
from t2igan.objective.perceptual import LpipsConfig
from t2igan.types import PrepareContext


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    vgg, heads = write_lpips(tmp_path_factory.mktemp("lpips") / "files")
    return {"vgg": str(vgg), "heads": str(heads)}


@pytest.fixture(params=[None, 16])
def term(request, files):
    term = LpipsConfig(**files, side=request.param).build()
    term.prepare(PrepareContext(torch.device("cpu"), list, None))
    return term


def test_it_is_the_mean_distance_from_the_real_images_at_the_given_size(term, make_inputs):
    fake, real = torch.rand(2, 3, 24, 24) * 2 - 1, torch.rand(2, 3, 24, 24) * 2 - 1
    got = term.generator(make_inputs(2, generated=fake, images=real))
    pairs = (fake, real) if term.side is None else (resize_bicubic(fake, 16), resize_bicubic(real, 16))
    assert got.item() == pytest.approx(term.lpips(*pairs).mean().item(), rel=1e-6) and got > 0
    assert term.generator(make_inputs(2, generated=real, images=real)).item() == pytest.approx(0, abs=1e-9)


def test_its_gradient_reaches_the_generated_images_alone(term, make_inputs):
    fake = (torch.rand(2, 3, 24, 24) * 2 - 1).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = term.generator(make_inputs(2, generated=fake, images=torch.zeros(2, 3, 24, 24)))
    assert loss.dtype == torch.float32
    loss.backward()
    assert fake.grad.isfinite().all() and fake.grad.any()
    assert all(p.grad is None for p in term.lpips.network.parameters()) and not list(term.parameters()) and not term.state_dict()
