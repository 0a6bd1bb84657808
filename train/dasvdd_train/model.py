"""Front end, standardisation, stacking, autoencoder, center and gamma as one module: trained, saved and exported."""

from __future__ import annotations

import torch
from dasvdd_runtime.reading.recording_types import Kind
from torch import Tensor, nn

from .dasvdd import center_distance
from .front_ends import FrontEnd
from .network import build_decoder, build_encoder


class DasvddModel(nn.Module):
    """Window -> (score, reconstruction_error, center_distance, residual); eq. 2, averaged over feature vectors.

    A feature vector is `stacked_frames` consecutive standardised frames, one vector starting at every frame.
    """

    front_end: FrontEnd
    mean: Tensor
    std: Tensor
    center: Tensor
    gamma: Tensor

    def __init__(self, front_end: FrontEnd, *, stacked_frames: int, widths: tuple[int, ...], latent: int) -> None:
        super().__init__()
        self.front_end = front_end
        self.kind: Kind = front_end.kind
        self.residual_names = front_end.band_names
        self.residual_noun = front_end.band_noun
        self.bands = front_end.bands
        self.least_deviation = front_end.least_deviation
        self.stacked_frames = stacked_frames
        self.widths = widths
        self.latent = latent
        features = self.bands * stacked_frames
        self.encoder = build_encoder(features=features, widths=widths, latent=latent)
        self.decoder = build_decoder(features=features, widths=widths, latent=latent)
        self.register_buffer("mean", torch.zeros(self.bands))
        self.register_buffer("std", torch.ones(self.bands))
        self.register_buffer("center", torch.zeros(latent))
        self.register_buffer("gamma", torch.zeros(()))

    @property
    def vector_samples(self) -> int:
        """Samples that one feature vector takes: the least that can be scored or trained on."""
        return self.front_end.frame_samples + (self.stacked_frames - 1) * self.front_end.frame_hop_samples

    def frames(self, window: Tensor) -> Tensor:
        """Standardised frames [batch, frames, bands] of `window`, laid out as the front end's input.

        A front end that computes in float64 is standardised so: a line that hardly varies is a small difference of
        large levels.
        """
        frames = self.front_end(window)
        return ((frames - self.mean) / self.std).to(self.mean.dtype)

    def forward(self, window: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Score, reconstruction_error and center_distance, each [batch], and residual [batch, bands].

        residual is the reconstruction error by band: it sums to reconstruction_error.
        """
        residuals, distances = self.of_vectors(self.frames(window))
        residual = residuals.mean(dim=1)
        error = residual.sum(dim=1)
        distance = distances.mean(dim=1)
        return error + self.gamma * distance, error, distance, residual

    def of_vectors(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Residual by band [batch, vectors, bands] and center distance [batch, vectors] of every feature vector.

        `frames` [batch, frames, bands] are standardised.
        """
        vectors = frames.shape[1] - self.stacked_frames + 1
        stacked = torch.cat([frames[:, i : i + vectors] for i in range(self.stacked_frames)], dim=2)
        # Two dimensions, so that a Linear exports as Gemm, which quantisation looks for.
        x = stacked.reshape(-1, self.bands * self.stacked_frames)
        z = self.encoder(x)
        off = self.decoder(z) - x
        squared = (off * off).reshape(-1, vectors, self.stacked_frames, self.bands)  # Mul is faster than Pow
        return squared.sum(dim=2), center_distance(z, self.center).reshape(-1, vectors)
