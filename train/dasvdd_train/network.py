"""The autoencoder: fully connected encoder and mirrored decoder, as in section 4.3 of the paper."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

NEGATIVE_SLOPE = 0.01
"""Slope of the leaky ReLU below zero; the paper names the function, not the slope."""


def build_encoder(*, features: int, widths: tuple[int, ...], latent: int) -> nn.Sequential:
    """Encoder h: [rows, features] -> code z [rows, latent]; leaky ReLU between layers, a linear code.

    The linear code is what reproduces the paper's figures (docs/method.md).
    """
    return _perceptron((features, *widths, latent))


def build_decoder(*, features: int, widths: tuple[int, ...], latent: int) -> nn.Sequential:
    """Decoder g: z [rows, latent] -> x_hat [rows, features], the encoder's widths in reverse, a linear output."""
    return _perceptron((latent, *reversed(widths), features))


def _perceptron(sizes: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.LeakyReLU(NEGATIVE_SLOPE)]
    return nn.Sequential(*layers[:-1])
