"""The synthesis network in the manner of Aurora: experts, moving taps, and that it trains as any other system."""

import math

import pytest
import torch
import torch.nn.functional as F

from t2igan.errors import UserError
from t2igan.layers.deformable import DeformableConv2d, read_moved
from t2igan.layers.experts import Experts, routing_loss
from t2igan.objective.routing import RoutingConfig
from t2igan.synthesis.aurora import AuroraSynthesisConfig, ConvBlock
from t2igan.types import CheckContext, ImagePyramid


def test_every_place_goes_through_the_one_expert_that_its_router_prefers(randomised):
    layer = randomised(Experts(6, 5, experts=3, ratio=2))
    x, style = torch.randn(2, 16, 6), torch.randn(2, 5)
    found, loss = layer(x, style)
    logits = layer.router(x.transpose(1, 2).unflatten(2, (4, 4)), style).flatten(2).transpose(1, 2)
    logits = F.leaky_relu(logits, 0.2) * math.sqrt(2)
    shares, used = logits.softmax(2), set()
    for b in range(2):
        for t in range(16):
            best = int(shares[b, t].argmax())
            used.add(best)
            inner = layer.inner[best] @ x[b, t] / 6**0.5 + layer.inner_bias[best]
            value, gate = inner[:12], inner[12:]
            y = layer.outer[best] @ (value * F.gelu(gate)) / 12**0.5 + layer.outer_bias[best]
            assert torch.allclose(found[b, t], shares[b, t, best] * y, atol=1e-4)
    assert len(used) > 1
    parts = torch.stack([(shares.argmax(2) == e).float().mean() for e in range(3)])
    balance = 3**2 * (parts * shares.mean((0, 1))).mean()
    assert torch.allclose(loss, logits.logsumexp(2).square().mean() + balance, atol=1e-5)


def test_the_balance_is_least_where_experts_are_used_evenly():
    even = torch.eye(4).repeat(2, 1)[None] * 9
    uneven = torch.zeros(1, 8, 4)
    uneven[..., 0] = 9

    def balance(logits):
        return float(routing_loss(logits, logits.softmax(2), logits.argmax(2)) - logits.logsumexp(2).square().mean())

    assert balance(even) == pytest.approx(1, abs=1e-3) and balance(uneven) == pytest.approx(4, abs=0.01)


def test_gradients_reach_the_router_and_the_experts_that_are_used():
    layer = Experts(6, 5, experts=2, ratio=1)
    with torch.no_grad():
        layer.router.bias.copy_(torch.tensor([9.0, 0.0])[:, None, None])
    found, loss = layer(torch.randn(2, 16, 6), torch.randn(2, 5))
    (found.square().sum() + loss).backward()
    assert all(p.grad is not None for p in layer.parameters()), "as processes that share gradients need"
    assert layer.inner.grad[0].abs().sum() > 0 and layer.inner.grad[1].abs().sum() == 0
    assert layer.router.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("num_kernels", [1, 2])
def test_taps_that_stay_make_an_ordinary_convolution(num_kernels, randomised):
    from t2igan.layers.modulation import AdaptiveConv2d

    moving = DeformableConv2d(4, 5, 6, num_kernels)
    still = AdaptiveConv2d(4, 5, 6, num_kernels=num_kernels)
    still.load_state_dict({name: value for name, value in moving.state_dict().items() if name in still.state_dict()})
    x, style = torch.randn(2, 4, 8, 8), torch.randn(2, 6)
    assert torch.allclose(moving(x, style), still(x, style), atol=1e-5)


def test_taps_that_move_read_elsewhere():
    moving, x, style = DeformableConv2d(4, 5, 6), torch.randn(2, 4, 8, 8), torch.randn(2, 6)
    before = moving(x, style)
    with torch.no_grad():
        moving.shifts[1:18:2] = 1.0  # a column to the right, of every tap
    after = moving(x, style)
    assert torch.allclose(after[..., :-2], before[..., 1:-1], atol=1e-5)
    with torch.no_grad():
        moving.shifts.zero_()
        moving.shifts[18:] = math.log(3)  # 2 sigmoid(log 3) = 1.5
    assert torch.allclose(moving(x, style) - moving.bias, 1.5 * (before - moving.bias), atol=1e-4)
    moving(x, style).sum().backward()
    assert moving.scales.grad.abs().sum() > 0 and moving.where.weight.grad is not None


def test_moved_taps_are_torchvisions_with_its_derivatives():
    from torchvision.ops import deform_conv2d

    x, kernel = torch.randn(2, 4, 5, 7, requires_grad=True), torch.randn(3, 4, 3, 3, requires_grad=True)
    moves = (2 * torch.randn(2, 9, 2, 5, 7)).requires_grad_()  # some beyond the edges
    ours = torch.einsum("bcnhw,ocn->bohw", read_moved(x, moves), kernel.flatten(2))
    theirs = deform_conv2d(x, moves.flatten(1, 2), kernel, padding=1)
    assert torch.allclose(ours, theirs, atol=1e-4)
    for mine, other in zip(*(torch.autograd.grad(y.sin().sum(), (x, moves, kernel)) for y in (ours, theirs)), strict=True):
        assert torch.allclose(mine, other, atol=1e-3)


def test_a_block_is_the_scaled_sum_of_its_path_and_its_skip(randomised):
    block, x, style = randomised(ConvBlock(4, 4, 6, 1, False, False, 0.4)), torch.randn(2, 4, 8, 8), torch.randn(2, 6)

    def act(y):
        return F.leaky_relu(y, 0.2) * 2**0.5

    path = act(block.conv2(act(block.conv1(x, style)), style))
    assert torch.allclose(block(x, style), 0.4 * (path + x), atol=1e-5)


def small(**options):
    sizes = {"channels": (8, 8, 8), "blocks": (1, 2, 1), "num_kernels": (1, 2, 1), "attention": (0, 1, 1), "experts": (1, 2, 3)}
    return AuroraSynthesisConfig(**sizes | {"attention_width": None, "head_dim": 4, "mlp_ratio": 1} | options)


def test_images_come_at_every_side_with_the_loss_of_the_experts(randomised, descriptors):
    network, text = randomised(small().build(16, 6, 12)), descriptors([2, 4])
    found = network(torch.randn(2, 3, 6), [text] * 3)
    assert [level.shape[-1] for level in found.levels] == [16, 8, 4] and found.own_loss.ndim == 0
    assert found.map(torch.clone).own_loss is found.own_loss
    (found.finest.square().sum() + found.own_loss).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    again = small(activation_checkpointing=True).build(16, 6, 12)
    again.load_state_dict(network.state_dict())
    styles = torch.randn(2, 3, 6)
    assert torch.allclose(again(styles, [text] * 3).finest, network(styles, [text] * 3).finest, atol=1e-5)


def test_the_defaults_have_the_releases_size():
    """The specification: 1111 million parameters, 539 million of them in experts and routers."""
    with torch.device("meta"):
        network = AuroraSynthesisConfig().build(64, 1024, 1024)
    sizes = {name: p.numel() for name, p in network.named_parameters()}
    assert sum(size for name, size in sizes.items() if ".experts." in name) == 538_789_032
    assert sum(sizes.values()) == pytest.approx(1111e6, rel=0.01), "the first block has a convolution more, attention fewer projections"


def test_attention_may_have_a_width_of_its_own(randomised, descriptors):
    network = randomised(small(attention_width=12).build(16, 6, 12))
    assert network.stages["8"].attention[0].into.weight.shape == (12, 8) and network.stages["8"].attention[0].out.weight.shape == (8, 12)
    assert network(torch.randn(2, 3, 6), [descriptors([2, 4])] * 3).finest.isfinite().all()


def test_words_change_the_image(randomised, descriptors):
    network, styles = randomised(small().build(16, 6, 12)), torch.randn(1, 3, 6)
    one, other = (network(styles, [descriptors([3])] * 3).finest for _ in range(2))
    assert not torch.allclose(one, other, atol=1e-4)
    assert not any("cross" in name for name in small().build(16, 6, 0).state_dict())


def test_what_does_not_fit_is_refused(make_fake_inputs):
    with pytest.raises(ValueError, match="experts has 2 entries, resolution 16 has 3 stages"):
        small(experts=(1, 2)).check(CheckContext(16, (16, 8, 4)))
    with pytest.raises(ValueError, match="channels has 8 in a stage with attention, needs a multiple of head_dim 3"):
        small(head_dim=3).check(CheckContext(16, (16, 8, 4)))
    with pytest.raises(ValueError, match="attention_width is 6, needs a multiple of head_dim 4"):
        small(attention_width=6).check(CheckContext(16, (16, 8, 4)))
    with pytest.raises(UserError, match=r"has the term routing, and generator\.synthesis has no experts; leave it out"):
        RoutingConfig().build().generator(make_fake_inputs(None))
    assert float(RoutingConfig().build().generator(make_fake_inputs(torch.tensor(3.0)))) == 3


@pytest.fixture
def make_fake_inputs(descriptors):
    """make_fake_inputs(own_loss) -> inputs of a term of G."""
    from t2igan.draws import Draws
    from t2igan.objective.term import LossInputs, MicroBatch
    from t2igan.types import Fake, TrainingTime, Verdict

    def make(own_loss):
        images, text, draws = torch.zeros(2, 3, 4, 4), descriptors([1, 1]), Draws(0, torch.arange(2))
        batch = MicroBatch(images, ["a", "b"], ["a", "b"], text, text, torch.arange(2), torch.zeros(2, 4), None, draws, draws)
        fake = Fake(ImagePyramid((images,), own_loss=own_loss), torch.zeros(2, 1, 4))
        return LossInputs(TrainingTime(0), batch, fake, Verdict((torch.zeros(2, 1),), (1.0,)))

    return make


def test_the_router_computes_in_float32_under_autocast():
    experts, x, style = Experts(16, 8, experts=4, ratio=2), torch.randn(2, 16, 16), torch.randn(2, 8)
    _, exact = experts(x, style)
    with torch.autocast("cpu", torch.bfloat16):
        _, loss = experts(x, style)
    assert loss.dtype == torch.float32 and torch.equal(loss, exact)
