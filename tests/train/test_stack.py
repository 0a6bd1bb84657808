"""Many models trained at once: each is what it would be alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from dasvdd_runtime.errors import DataError
from dasvdd_train.dasvdd import CENTER_LEARNING_RATE, CENTER_LEARNING_RATE_DECAY, center_distance, reconstruction_error
from dasvdd_train.features import FeatureVectors
from dasvdd_train.network import build_decoder, build_encoder
from dasvdd_train.steps import train_steps, train_to_epoch_end
from dasvdd_train.trainer import Trained, train_members
from dasvdd_train.training_state import Member, Recipe, initial_state
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

CPU = torch.device("cpu")


def recipe(**more: Any) -> Recipe:
    settings: dict[str, Any] = {
        "features": 6,
        "widths": (12,),
        "latent": 3,
        "batch_rows": 40,
        "kappa": 0.9,
        "learning_rate": 1e-2,
        "weight_decay": 1e-3,
    }
    return Recipe(**settings | more)


def vectors(count: int, seed: int = 0) -> FeatureVectors:
    rows = torch.randn(count, 6, generator=torch.Generator().manual_seed(100 + seed))
    return FeatureVectors(rows, torch.arange(count), 1)


def member(count: int = 200, seed: int = 0, **more: Any) -> Member:
    settings: dict[str, Any] = {"epochs": 4, "gamma": None, "gamma_initialisations": 3}
    return Member(vectors(count, seed), seed, **settings | more)


def trained(members: Sequence[Member], how: Recipe) -> list[Trained]:
    results = dict(train_members(members, how, CPU))
    found = [results[number] for number in range(len(members))]
    assert all(isinstance(result, Trained) for result in found)
    return found  # type: ignore[return-value]  # as was just asserted


def weights(result: Trained) -> Tensor:
    networks = (*result.encoder.values(), *result.decoder.values(), result.center)
    return torch.cat([value.flatten() for value in networks])


# Two, five and six batches an epoch; final batches of 11, 0 and 37 rows; one whose final row is dropped; other lengths.
MEMBERS = [
    member(91, seed=1),
    member(200, seed=2, gamma=0.3),
    member(237, seed=3, epochs=2),
    member(201, seed=1, gamma_initialisations=5),
    member(91, seed=7, epochs=6),
]
RECIPES = {
    "as the paper": recipe(),
    "fixed center": recipe(kappa=1.0, center="mean_code"),
    "kappa 1": recipe(kappa=1.0),
    "other activations": recipe(code="leaky_relu", output="sigmoid"),
    "no hidden layer": recipe(widths=()),
}


@pytest.mark.parametrize("how", RECIPES.values(), ids=list(RECIPES))
def test_a_member_is_what_it_would_be_alone(how: Recipe) -> None:
    """Members of other row counts, seeds and lengths change nothing but the rounding: weights, c, gamma and history."""
    together = trained(MEMBERS, how)
    for one, among in zip(MEMBERS, together, strict=True):
        (alone,) = trained([one], how)
        torch.testing.assert_close(weights(among), weights(alone), rtol=1e-4, atol=1e-5)
        assert among.gamma == pytest.approx(alone.gamma, rel=1e-6)
        assert [m.epoch for m in among.history] == [m.epoch for m in alone.history] == list(range(1, one.epochs + 1))
        errors = [[m.reconstruction_error for m in result.history] for result in (among, alone)]
        assert errors[0] == pytest.approx(errors[1], rel=1e-4)


def test_bf16_members_are_nearly_what_they_would_be_alone() -> None:
    """In bf16 the products of a stack round otherwise, and no more than bf16 does."""
    how = recipe(precision="bf16")
    for one, among in zip(MEMBERS, trained(MEMBERS, how), strict=True):
        (alone,) = trained([one], how)
        assert among.history[-1].reconstruction_error == pytest.approx(alone.history[-1].reconstruction_error, rel=0.02)


def test_members_end_apart_and_leave_the_stack() -> None:
    """Results come when a member has done its own steps, and the tensors of those that are left are the smaller."""
    sizes: dict[int, int] = {}
    steps = 0

    def look(state: Any, error: Tensor, distance: Tensor) -> None:
        nonlocal steps
        steps += 1
        sizes[steps] = len(error)
        assert state.center.shape == (len(error), 1, 3)
        assert {len(p) for p in state.encoder.parameters()} == {len(error)}

    finished = [number for number, _ in train_members(MEMBERS, recipe(), CPU, on_step=look)]
    # Steps of each member: 4 * 3, 4 * 5, 2 * 6, 4 * 5 and 6 * 3.
    assert [sum(size >= left for size in sizes.values()) for left in (5, 3, 2)] == [12, 18, 20]
    assert finished == [0, 2, 4, 1, 3]


def test_a_diverging_member_spoils_no_other() -> None:
    """Rows that are not finite end one member with an error and leave the weights of the other alone."""
    broken = vectors(200)
    broken.frames[7] = torch.inf
    (alone,) = trained([member(seed=5)], recipe())
    spoilt = Member(broken, 0, epochs=4, gamma=1.0, gamma_initialisations=1)
    results = dict(train_members([spoilt, member(seed=5)], recipe(), CPU))
    assert isinstance(results[0], DataError)
    assert "diverged" in str(results[0])
    good = results[1]
    assert isinstance(good, Trained)
    torch.testing.assert_close(weights(good), weights(alone), rtol=1e-4, atol=1e-5)


def test_a_stack_of_one_seed_draws_for_each_what_it_draws_alone() -> None:
    """Members of one seed begin alike, whatever their data; gamma is that of their own rows."""
    first, second = member(90, seed=4), Member(vectors(120, 9), 4, 4, None, 3)
    state = initial_state([first, second], recipe(), CPU)
    for parameter in state.encoder.parameters():
        assert torch.equal(parameter[0], parameter[1])
    assert state.members[0].gamma != state.members[1].gamma
    alone = [initial_state([one], recipe(), CPU).members[0].gamma for one in (first, second)]
    assert [run.gamma for run in state.members] == pytest.approx(alone, rel=1e-6)


def test_training_is_the_plain_loop_with_torchs_optimisers() -> None:
    """nn.Linear, torch.optim.Adam and Adagrad and a loop over slices give the same networks as a stack."""
    one, how = member(91, seed=3, gamma=0.7), recipe()
    torch.manual_seed(3)
    encoder = build_encoder(features=6, widths=(12,), latent=3)
    decoder = build_decoder(features=6, widths=(12,), latent=3)
    center = torch.randn(3).requires_grad_()
    adam = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-2, weight_decay=1e-3)
    adagrad = torch.optim.Adagrad([center], lr=CENTER_LEARNING_RATE, lr_decay=CENTER_LEARNING_RATE_DECAY)
    generator = torch.Generator().manual_seed(3)
    for _ in range(4):
        for batch in one.vectors.frames[torch.randperm(91, generator=generator)].split(40):
            x, rest = batch.split([int(0.9 * len(batch)), len(batch) - int(0.9 * len(batch))])
            z = encoder(x)
            loss = reconstruction_error(x, decoder(z)).mean() + 0.7 * center_distance(z, center.detach()).mean()
            adam.zero_grad()
            torch.autograd.backward(loss)
            adam.step()
            adagrad.zero_grad()
            torch.autograd.backward(center_distance(encoder(rest).detach(), center).mean())
            adagrad.step()
    expected = [*encoder.state_dict().values(), *decoder.state_dict().values(), center.detach()]
    found = trained([member(200, seed=8), one], how)[1]
    torch.testing.assert_close(weights(found), torch.cat([value.flatten() for value in expected]), rtol=1e-4, atol=1e-5)


class NoReading(TorchDispatchMode):
    """Refuses every read of a tensor by the host, which on a CUDA device would wait for it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in ("_local_scalar_dense", "nonzero", "is_nonzero", "equal"):
            raise AssertionError(f"{name} inside an epoch")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_nothing_is_read_back_inside_an_epoch(precision: str) -> None:
    """No .item(), .tolist() or bool() of a tensor from the first step to the end of an epoch."""
    how = recipe(precision=precision)
    state = initial_state([member(), member(91, seed=1)], how, CPU)
    with NoReading():
        train_steps(state, how)


def test_a_read_inside_an_epoch_would_be_seen() -> None:
    """The check above can fail: an observer that reads a term is refused."""
    state = initial_state([member()], recipe(), CPU)
    with NoReading(), pytest.raises(AssertionError, match="inside an epoch"):
        train_steps(state, recipe(), lambda _, error, distance: print(error.item()))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_nothing_waits_for_cuda_inside_an_epoch() -> None:
    """CUDA's own watch over synchronisation sees none between the ends of two epochs."""
    cuda = torch.device("cuda")
    state = initial_state([member(), member(91, seed=1)], recipe(), cuda)
    train_to_epoch_end(state, recipe())
    torch.cuda.set_sync_debug_mode("error")
    try:
        train_steps(state, recipe())
    finally:
        torch.cuda.set_sync_debug_mode("default")
