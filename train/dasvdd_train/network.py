"""The autoencoder: fully connected encoder and mirrored decoder, as in section 4.3 of the paper."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from torch import nn

NEGATIVE_SLOPE = 0.01
"""Slope of the leaky ReLU below zero; the paper names the function, not the slope."""

Activation = Literal["linear", "leaky_relu", "sigmoid"]


def build_encoder(*, features: int, widths: tuple[int, ...], latent: int, code: Activation = "linear") -> nn.Sequential:
    """Encoder h: [rows, features] -> code z [rows, latent]; leaky ReLU between layers, then `code`.

    A linear code is what reproduces the paper's figures (docs/method.md).
    """
    return _perceptron((features, *widths, latent), code)


def build_decoder(
    *, features: int, widths: tuple[int, ...], latent: int, output: Activation = "linear"
) -> nn.Sequential:
    """Decoder g: z [rows, latent] -> x_hat [rows, features], the encoder's widths in reverse, then `output`."""
    return _perceptron((latent, *reversed(widths), features), output)


def _perceptron(sizes: tuple[int, ...], last: Activation) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.LeakyReLU(NEGATIVE_SLOPE)]
    if last != "leaky_relu":
        layers[-1:] = [nn.Sigmoid()] if last == "sigmoid" else []
    return nn.Sequential(*layers)
