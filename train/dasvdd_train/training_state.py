"""A stack of trainings in progress, and how it begins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from .batches import BatchOrder
from .dasvdd import Optimisers, automatic_gamma
from .features import FeatureVectors, join
from .metrics import EpochMetrics
from .network import Activation, build_decoder, build_encoder
from .stacking import NetworkStack, empty_stack

ROWS_AT_ONCE = 16384
"""Rows in a pass over all training data, those of all members together."""


@dataclass(frozen=True)
class Recipe:
    """What the members of a stack share: their shape, and how they are trained."""

    features: int
    widths: tuple[int, ...]
    latent: int
    batch_rows: int
    kappa: float
    """1: whole batches train the networks, and c stays as it was initialised."""
    learning_rate: float
    weight_decay: float
    code: Activation = "linear"
    output: Activation = "linear"
    center: Literal["random", "mean_code"] = "random"
    """How c is initialised: a normal draw, or the mean code of the untrained encoder."""
    precision: Literal["fp32", "bf16"] = "fp32"
    early_stopping_epochs: int | None = None


@dataclass(frozen=True)
class Member:
    """One model of a stack, as it was asked for: its own data, seed and length."""

    vectors: FeatureVectors
    seed: int
    epochs: int
    gamma: float | None
    """None: by eq. 6."""
    gamma_initialisations: int
    holdout: FeatureVectors | None = None
    on_epoch: Callable[[EpochMetrics], None] = lambda _: None
    on_gamma: Callable[[int, int], None] = lambda _done, _of: None
    """Told how far the choice of gamma is: blocks of rows that went through all initialisations, of how many."""


@dataclass(frozen=True)
class Best:
    """The networks at the lowest held-out score so far."""

    epoch: int
    holdout_score: float
    networks: dict[str, Tensor]


@dataclass
class Run:
    """How far one member is: what is counted and kept of it alone, in plain numbers. Its weights are in the state."""

    member: Member
    number: int
    """Which member it is of those that began."""
    first_row: int
    """Where its rows begin among those of all."""
    order: BatchOrder
    gamma: float
    epoch: int = 0
    """Epochs that are done."""
    history: list[EpochMetrics] = field(default_factory=list)
    best: Best | None = None
    error: Exception | None = None
    """Why it cannot go on."""


@dataclass
class TrainingState:
    """All that the next step depends on. Every tensor has a leading axis of members, in the order of `members`.

    One object for a whole stack, on the device. With three seeds trained at once there are one TrainingState, whose
    `center` is [3, 1, latent], and three Runs in its `members`; a member that ends leaves both.
    """

    vectors: FeatureVectors
    """Those of all members."""
    encoder: NetworkStack
    decoder: NetworkStack
    center: Tensor
    """[members, 1, latent]."""
    optimisers: Optimisers
    gamma: Tensor
    """[members]."""
    sums: Tensor
    """Both terms summed over the steps of each member's epoch, [2, members]."""
    members: list[Run]

    def networks(self) -> dict[str, Tensor]:
        """Parameters of encoder and decoder and the center, by name; not copied."""
        parameters = {f"encoder.{name}": value for name, value in self.encoder.state_dict().items()}
        parameters |= {f"decoder.{name}": value for name, value in self.decoder.state_dict().items()}
        return parameters | {"center": self.center.detach()}

    def networks_of(self, member: int) -> dict[str, Tensor]:
        """As `networks`, copies of those of the one at position `member`; the leading axis stays, 1 long."""
        return {name: value[member : member + 1].clone() for name, value in self.networks().items()}

    @torch.no_grad()
    def load_networks(self, saved: Mapping[str, Tensor]) -> None:
        """Take over what `networks` gave. Raises KeyError or RuntimeError where it belongs to other networks."""
        for name, module in (("encoder.", self.encoder), ("decoder.", self.decoder)):
            module.load_state_dict({k.removeprefix(name): v for k, v in saved.items() if k.startswith(name)})
        self.center.copy_(saved["center"])

    @torch.no_grad()
    def keep(self, positions: Sequence[int]) -> None:
        """Go on with the members at `positions` alone; the others cost nothing any more."""
        if len(positions) == len(self.members):
            return
        self.members = [self.members[position] for position in positions]
        if self.members:
            index = torch.tensor(positions, device=self.center.device)
            self.optimisers.keep(index)
            self.gamma, self.sums = self.gamma[index], self.sums[:, index]


class Beginning(NamedTuple):
    """What a seed draws."""

    encoder: nn.Sequential
    decoder: nn.Sequential
    center: Tensor
    gammas: dict[int, float]
    """Position of a member that asks for it -> gamma by eq. 6."""


def initial_state(
    members: Sequence[Member], recipe: Recipe, device: torch.device, *, saved: bool = False
) -> TrainingState:
    """Networks and centers as Algorithm 1 initialises them; where a `saved` state follows, gamma is not computed.

    What a member begins with depends on its own seed alone. Draws are made on the CPU, once for each seed.
    """
    on_device = {id(member.vectors): member.vectors.to(device) for member in members}
    data = [on_device[id(member.vectors)] for member in members]
    alike: dict[tuple[int, int], list[int]] = {}
    for position, member in enumerate(members):
        trials = member.gamma_initialisations if member.gamma is None and not saved else 0
        alike.setdefault((member.seed, trials), []).append(position)

    encoder, decoder = (empty_stack(len(members), network, device) for network in _build(recipe))
    center = torch.empty(len(members), 1, recipe.latent, device=device)
    gammas = [member.gamma or 0.0 for member in members]
    for (seed, trials), positions in alike.items():
        begin = _begin(
            recipe,
            seed,
            trials,
            {position: data[position] for position in positions},
            device,
            members[positions[0]].on_gamma,
        )
        for position in positions:
            encoder.put(position, begin.encoder)
            decoder.put(position, begin.decoder)
            center[position, 0] = begin.center
            gammas[position] = begin.gammas.get(position, gammas[position])
    if recipe.center == "mean_code":
        center = _mean_codes(encoder, data)
    vectors, first_rows = join(data)
    runs = [
        Run(member, number, first_row, _order(member, recipe), gamma)
        for number, (member, first_row, gamma) in enumerate(zip(members, first_rows, gammas, strict=True))
    ]
    center.requires_grad_()
    optimisers = Optimisers(
        encoder, decoder, center, learning_rate=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    sums = torch.zeros(2, len(members), device=device)
    return TrainingState(vectors, encoder, decoder, center, optimisers, torch.tensor(gammas, device=device), sums, runs)


def _build(recipe: Recipe) -> tuple[nn.Sequential, nn.Sequential]:
    features, widths, latent = recipe.features, recipe.widths, recipe.latent
    return (
        build_encoder(features=features, widths=widths, latent=latent, code=recipe.code),
        build_decoder(features=features, widths=widths, latent=latent, output=recipe.output),
    )


def _begin(
    recipe: Recipe,
    seed: int,
    trials: int,
    data: Mapping[int, FeatureVectors],
    device: torch.device,
    on_gamma: Callable[[int, int], None],
) -> Beginning:
    """Draw from `seed` the networks of all `trials`, for the gamma of each of `data`, then those that are trained."""
    like = _build(recipe)
    torch.manual_seed(seed)
    gammas: dict[int, float] = {}
    if trials:
        encoders, decoders = (empty_stack(trials, network, device) for network in like)
        for trial in range(trials):
            encoder, decoder = _build(recipe)
            encoders.put(trial, encoder)
            decoders.put(trial, decoder)
        found = [
            automatic_gamma(_told(part, ROWS_AT_ONCE // trials + 1, on_gamma), encoders, decoders)
            for part in data.values()
        ]
        gammas = dict(zip(data, torch.stack(found).tolist(), strict=True))
    encoder, decoder = _build(recipe)
    return Beginning(encoder, decoder, torch.randn(recipe.latent), gammas)


def _told(vectors: FeatureVectors, rows: int, tell: Callable[[int, int], None]) -> Iterator[Tensor]:
    """`vectors` in blocks of `rows`; `tell` is told of each that has been used, and of how many there are."""
    blocks = -(-len(vectors) // rows)
    for done, block in enumerate(vectors.chunks(rows)):
        tell(done, blocks)
        yield block
    tell(blocks, blocks)


@torch.no_grad()
def _mean_codes(encoder: NetworkStack, data: Sequence[FeatureVectors]) -> Tensor:
    """The mean code of each member's rows by its own encoder, [members, 1, latent]."""
    means = []
    for position, vectors in enumerate(data):
        alone = encoder.take(torch.tensor([position], device=vectors.frames.device))
        codes = torch.cat([alone(x[None]) for x in vectors.chunks(ROWS_AT_ONCE)], dim=1)
        means.append(codes.mean(dim=1, keepdim=True))
    return torch.cat(means)


def _order(member: Member, recipe: Recipe) -> BatchOrder:
    generator = torch.Generator().manual_seed(member.seed)
    return BatchOrder(len(member.vectors), recipe.batch_rows, recipe.kappa, generator)
