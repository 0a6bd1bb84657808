"""What happens to rows before training."""

from __future__ import annotations

import numpy as np
import pytest
from dasvdd_train.reproduction.datasets import OneClassSplit
from dasvdd_train.reproduction.preprocessing import preprocess
from sklearn.preprocessing import MinMaxScaler, StandardScaler

RANDOM = np.random.default_rng(0)
BYTES = OneClassSplit(
    RANDOM.integers(0, 256, (30, 12)).astype(np.float32),
    RANDOM.integers(0, 256, (8, 12)).astype(np.float32),
    np.arange(8) > 3,
)


@pytest.mark.parametrize(("how", "scaler"), [("min_max", MinMaxScaler()), ("standardise", StandardScaler())])
def test_features_are_scaled_by_the_training_rows_alone(how: str, scaler: MinMaxScaler) -> None:
    """As scikit-learn scales them; a feature that never changes is not divided by zero."""
    still = OneClassSplit(BYTES.train.copy(), BYTES.test, BYTES.labels)
    still.train[:, 3] = 7
    done = preprocess(still, how)  # type: ignore[arg-type]
    scaler.fit(still.train)
    np.testing.assert_allclose(done.train, scaler.transform(still.train), atol=1e-5)
    np.testing.assert_allclose(done.test, scaler.transform(still.test), rtol=1e-5, atol=1e-5)


def test_global_contrast_is_that_of_deep_svdd() -> None:
    """Each image minus its mean, over the mean of its absolute values; then training's extremes to 0 and 1."""
    done = preprocess(BYTES, "global_contrast")
    images = [(image - image.mean()) / np.abs(image - image.mean()).mean() for image in BYTES.train.astype(np.float64)]
    lowest, highest = np.min(images), np.max(images)
    np.testing.assert_allclose(done.train, (np.array(images) - lowest) / (highest - lowest), atol=1e-6)
    assert (done.train.min(), done.train.max()) == (0, 1)
    brighter = preprocess(OneClassSplit(BYTES.train, 2 * BYTES.test + 10, BYTES.labels), "global_contrast")
    np.testing.assert_allclose(brighter.test, done.test, atol=1e-6)


def test_a_grey_image_has_no_contrast_and_no_nan() -> None:
    """An image of one shade becomes finite numbers."""
    grey = OneClassSplit(BYTES.train, np.full_like(BYTES.test, 128), BYTES.labels)
    assert np.isfinite(preprocess(grey, "global_contrast").test).all()


def test_pixels_are_bytes_over_255() -> None:
    """MNIST and Fashion-MNIST stay as they are but for their unit; 'none' changes nothing."""
    np.testing.assert_allclose(preprocess(BYTES, "pixels").test, BYTES.test / 255)
    np.testing.assert_array_equal(preprocess(BYTES, "none").train, BYTES.train)
