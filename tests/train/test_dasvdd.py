"""The method against numbers worked by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from dasvdd_train.batches import BatchOrder, split_batch
from dasvdd_train.dasvdd import Optimisers, Part, automatic_gamma, step
from dasvdd_train.front_ends import Rows
from dasvdd_train.model import DasvddModel
from dasvdd_train.stacking import NetworkStack, StackedLinear, empty_stack
from torch import Tensor, nn

CPU = torch.device("cpu")


def linear(weight: float, bias: float) -> nn.Linear:
    layer = nn.Linear(1, 1)
    with torch.no_grad():
        layer.weight.fill_(weight)
        layer.bias.fill_(bias)
    return layer


def stack_networks(networks: Sequence[nn.Sequential]) -> NetworkStack:
    """`networks` of one shape as one."""
    stack = empty_stack(len(networks), networks[0], CPU)
    for member, network in enumerate(networks):
        stack.put(member, network)
    return stack


def one(layer: nn.Linear) -> NetworkStack:
    """A network of one layer as a stack of one member."""
    return stack_networks([nn.Sequential(layer)])


def parameters(*networks: NetworkStack) -> list[Tensor]:
    return [p for network in networks for layer in network for p in (layer.weight, layer.bias)]


def step_once(
    encoder: NetworkStack, decoder: NetworkStack, center: Tensor, batch: Tensor, optimisers: Optimisers, gamma: float
) -> tuple[Tensor, Tensor]:
    """One step of a single model on `batch` [rows, features] with kappa 0.9."""
    first = split_batch(len(batch), 0.9)
    parts = [Part(x[None], torch.full((1, len(x)), 1 / len(x))) for x in (batch[:first], batch[first:])]
    return step(encoder, decoder, center, *parts, optimisers, gamma=torch.tensor([gamma]), autocast=no_autocast)


def no_autocast() -> torch.autocast:
    return torch.autocast("cpu", enabled=False)


def test_gamma_of_a_hand_worked_example() -> None:
    """Eq. 6: the mean over initialisations of the mean over rows of ||x_hat - x||^2 / ||z||^2."""
    # First network: z = 2 x, x_hat = z: errors 1, 4; codes squared 4, 16: ratios 1/4, 1/4.
    # Second: z = x, x_hat = 3 z: errors 4, 16; codes squared 1, 4: ratios 4, 4.
    encoders = stack_networks([nn.Sequential(linear(2, 0)), nn.Sequential(linear(1, 0))])
    decoders = stack_networks([nn.Sequential(linear(1, 0)), nn.Sequential(linear(3, 0))])
    x = torch.tensor([[1.0], [2.0]])
    gamma = automatic_gamma(iter([x[:1], x[1:]]), encoders, decoders)
    assert float(gamma) == pytest.approx((0.25 + 4) / 2)


def test_one_step_of_a_hand_worked_example() -> None:
    """Algorithm 1: Adam moves the networks with c fixed, then AdaGrad moves c by the moved networks' codes."""
    # Nine rows x = 1 for the networks, one row x = 3 for c. w = 2, v = 1, c = 1, gamma = 0.5:
    # z = 2, x_hat = 2; error 1, distance 1. d/dw = 2 (x_hat - x) v x + gamma 2 (z - c) x = 2 + 1 = 3, and so for the
    # encoder's bias; d/dv = 2 (x_hat - x) z = 4; d/dbias = 2. Adam's first step is lr * g / (|g| + 1e-8).
    encoder, decoder = one(linear(2, 0)), one(linear(1, 0))
    center = torch.tensor([[[1.0]]], requires_grad=True)
    optimisers = Optimisers(encoder, decoder, center, learning_rate=0.001, weight_decay=0)
    batch = torch.tensor([[1.0]] * 9 + [[3.0]])
    error, distance = step_once(encoder, decoder, center, batch, optimisers, 0.5)
    assert (float(error), float(distance)) == pytest.approx((1, 1))
    found = [float(p.detach()) for p in parameters(encoder, decoder)]
    assert found == pytest.approx([1.999, -0.001, 0.999, -0.001], abs=1e-6)
    # c's gradient is -2 (z - c) with z = 1.999 * 3 - 0.001; AdaGrad's first step is its sign times the rate 1.
    assert float(center.detach()) == pytest.approx(2.0, abs=1e-6)
    # Second step for c alone: rate 1 / (1 + 0.1), over the root of the summed squared gradients.
    first = -2 * (1.999 * 3 - 0.001 - 1)
    layer = encoder[0]
    assert isinstance(layer, StackedLinear)
    before = layer.weight.detach().clone()
    step_once(encoder, decoder, center, batch, optimisers, 0.5)
    z = float((layer.weight * 3 + layer.bias).detach())
    second = -2 * (z - 2)
    expected = 2 - 1 / 1.1 * second / math.sqrt(first**2 + second**2)
    assert float(center.detach()) == pytest.approx(expected, rel=1e-5)
    assert not torch.equal(before, layer.weight)


def test_weight_decay_is_the_papers() -> None:
    """Weight decay enters Adam's gradient as lambda times the weight (L2), as torch's Adam defines it."""
    encoder, decoder = one(linear(1, 0)), one(linear(1, 0))
    center = torch.tensor([[[1.0]]], requires_grad=True)
    optimisers = Optimisers(encoder, decoder, center, learning_rate=0.001, weight_decay=1e-7)
    # x = z = x_hat = c = 1: no gradient but the decay's, 1e-7; Adam divides it by 1e-7 + 1e-8.
    step_once(encoder, decoder, center, torch.ones(10, 1), optimisers, 1)
    assert float(parameters(decoder)[0].detach()) == pytest.approx(1 - 0.001 * 1e-7 / (1e-7 + 1e-8), abs=1e-6)


def test_the_centers_rows_do_not_move_the_networks() -> None:
    """The networks are fixed while c moves: the rows that train c change nothing in them."""
    results = []
    for last in (0.0, 100.0):
        torch.manual_seed(0)
        encoder, decoder = one(nn.Linear(2, 3)), one(nn.Linear(3, 2))
        center = torch.zeros(1, 1, 3, requires_grad=True)
        optimisers = Optimisers(encoder, decoder, center, learning_rate=0.01, weight_decay=0)
        batch = torch.cat([torch.randn(9, 2, generator=torch.Generator().manual_seed(1)), torch.full((1, 2), last)])
        step_once(encoder, decoder, center, batch, optimisers, 2)
        results.append([p.detach().clone() for p in parameters(encoder, decoder)])
    for first, second in zip(*results, strict=True):
        assert torch.equal(first, second)


def test_the_networks_rows_do_not_move_the_center() -> None:
    """c is fixed while the networks move: with the networks' rate at zero their rows leave c alone."""
    centers = []
    for scale in (1.0, 50.0):
        torch.manual_seed(0)
        encoder, decoder = one(nn.Linear(2, 3)), one(nn.Linear(3, 2))
        center = torch.zeros(1, 1, 3, requires_grad=True)
        optimisers = Optimisers(encoder, decoder, center, learning_rate=0, weight_decay=0)
        batch = torch.cat([torch.full((9, 2), scale), torch.ones(1, 2)])
        step_once(encoder, decoder, center, batch, optimisers, 1000)
        centers.append(center.detach().clone())
    assert torch.equal(*centers)


def test_batch_too_small_for_both_parts_is_refused() -> None:
    """One row cannot train both networks and center."""
    with pytest.raises(ValueError, match="1 rows make no batch"):
        BatchOrder(1, 2, 0.9, torch.Generator())


@pytest.mark.parametrize(
    ("rows", "kappa", "expected"),
    [(200, 0.9, 180), (10, 0.7, 7), (10, 0.9, 9), (1, 0.9, 0), (5, 0.1, 0), (2, 0.9, 1), (9, 1.0, 9), (1, 1.0, 0)],
)
def test_share_of_a_batch(rows: int, kappa: float, expected: int) -> None:
    """kappa of the rows, rounded down without floating-point slips; 0 where a part would get no row."""
    assert split_batch(rows, kappa) == expected


def test_small_final_batch_is_dropped() -> None:
    """Every row is used once an epoch but for a final batch that cannot be split."""
    assert BatchOrder(401, 200, 0.9, torch.Generator()).batches == 2
    indices, weights, parts = BatchOrder(402, 200, 0.9, torch.Generator()).take(3)
    assert parts == [(180, 20), (180, 20), (1, 1)]
    assert sorted(indices[weights > 0].tolist()) == list(range(402))


def test_a_batch_is_cut_in_its_shuffled_order() -> None:
    """The first kappa of each batch's rows train the networks and the others c, in the order that the seed draws."""
    order = torch.randperm(23, generator=torch.Generator().manual_seed(3))
    indices, weights, parts = BatchOrder(23, 10, 0.7, torch.Generator().manual_seed(3)).take(3)
    assert parts == [(7, 3), (7, 3), (2, 1)]
    assert torch.equal(indices[:2].flatten(), order[:20])
    assert torch.equal(indices[2, [0, 1, 7]], order[20:])
    assert weights[2].tolist() == pytest.approx([0.5, 0.5, 0, 0, 0, 0, 0, 1, 0, 0])


def test_score_of_a_hand_worked_window() -> None:
    """Eq. 2 over standardised rows, averaged over the window; the residual sums to the reconstruction error."""
    model = DasvddModel(Rows(channels=2, channel_names=["a", "b"]), stacked_frames=1, widths=(), latent=1)
    with torch.no_grad():
        model.encoder[0].weight.copy_(torch.tensor([[1.0, 1.0]]))
        model.encoder[0].bias.fill_(0)
        model.decoder[0].weight.copy_(torch.tensor([[1.0], [0.0]]))
        model.decoder[0].bias.fill_(0)
        model.mean.copy_(torch.tensor([1.0, 0.0]))
        model.std.copy_(torch.tensor([2.0, 1.0]))
        model.center.fill_(1)
        model.gamma.fill_(0.5)
        # Rows (3, 2) and (1, 0) standardise to (1, 2) and (0, 0): z = 3 and 0, x_hat = (3, 0) and (0, 0).
        score, error, distance, residual = model(torch.tensor([[[3.0, 2.0], [1.0, 0.0]]]))
    # Errors (3-1)^2 + (0-2)^2 = 8 and 0, mean 4; distances (3-1)^2 = 4 and 1, mean 2.5; score 4 + 0.5 * 2.5.
    assert float(error) == pytest.approx(4)
    assert float(distance) == pytest.approx(2.5)
    assert float(score) == pytest.approx(5.25)
    assert residual.tolist() == [pytest.approx([2.0, 2.0])]
