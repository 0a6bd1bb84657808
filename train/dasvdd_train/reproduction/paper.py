"""The paper's own figures: tables 2 and 3, AUC in percent. Tests compare every row with table 2's averages."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One figure of the paper: mean over ten runs, and its deviation where the paper gives one."""

    mean: float
    deviation: float | None = None


METHODS = (
    "OCSVM",
    "KDE",
    "IF",
    "AE",
    "VAE",
    "DAGMM",
    "AnoGAN",
    "PixCNN",
    "AND",
    "OCGAN",
    "DSVDD",
    "DASVDD",
)
"""Columns of table 2."""

_TABLE_2 = """
mnist   0     98.6  97.1  98.0  98.8  99.7  50.0  96.6  53.1  98.4  99.8  98.0  99.7  0.1
mnist   1     99.5  98.9  97.3  99.3  99.9  76.6  99.2  99.5  99.9  99.6  99.6  99.9  0.0
mnist   2     82.5  79.0  88.6  91.7  93.6  32.6  85.0  47.6  94.7  94.2  91.7  95.4  0.6
mnist   3     88.1  86.2  89.9  88.5  95.9  31.9  88.7  51.7  95.2  96.3  91.9  96.2  0.4
mnist   4     94.9  87.9  92.7  86.2  97.3  36.8  89.4  73.9  96.0  97.5  94.9  98.1  0.1
mnist   5     77.1  73.8  85.5  85.8  96.4  49.0  88.3  54.2  97.1  98.0  88.5  97.2  0.6
mnist   6     96.5  87.6  95.6  95.4  99.3  51.5  94.7  59.2  99.1  99.1  98.3  99.6  0.1
mnist   7     93.7  91.4  92.0  94.0  97.6  50.0  93.5  78.9  97.0  98.1  94.6  98.1  0.3
mnist   8     88.9  79.2  89.9  82.3  92.3  46.7  84.9  34.0  92.2  93.9  93.9  94.2  1.2
mnist   9     93.1  88.2  93.5  96.5  97.6  81.3  92.4  66.2  97.9  98.1  96.5  98.3  0.5
cifar10 0     61.6  61.2  60.1  59.9  62.0  41.4  67.1  78.8  67.8  75.7  61.7  68.6  0.7
cifar10 1     63.8  64.0  50.8  63.8  66.4  57.1  54.7  42.8  58.2  53.1  65.9  64.3  0.6
cifar10 2     50.0  50.1  49.2  50.9  38.2  53.8  52.9  61.7  51.7  64.0  50.8  55.8  0.8
cifar10 3     55.9  56.4  55.1  59.4  58.6  51.2  54.5  57.4  57.9  62.0  59.1  58.6  0.2
cifar10 4     66.0  66.2  49.8  59.8  38.6  52.2  65.1  51.1  65.4  72.3  60.9  64.0  0.2
cifar10 5     62.4  62.4  58.5  63.2  58.6  49.3  60.3  57.1  64.3  62.0  65.7  62.6  0.5
cifar10 6     74.7  74.9  42.9  65.2  56.5  64.9  58.5  42.2  61.3  72.3  67.7  71.0  0.1
cifar10 7     62.6  62.6  55.1  65.1  62.2  55.3  62.5  45.4  63.0  57.5  67.3  64.6  0.2
cifar10 8     74.9  75.1  74.2  76.9  66.3  51.9  75.8  71.5  73.9  82.0  75.9  81.1  0.4
cifar10 9     75.9  76.0  58.9  72.7  73.7  54.2  66.5  42.6  69.7  55.4  73.1  73.7  0.3
fmnist  0     90.6  88.3  86.8  71.6  87.4  51.9  89.0  78.9  88.3  90.1  79.1  91.2  0.1
fmnist  1     97.5  94.3  97.7  96.9  97.7  34.0  97.1  90.2  96.4  98.2  94.0  99.0  0.0
fmnist  2     88.1  87.7  87.1  72.9  81.6  26.9  86.5  80.8  86.8  89.8  83.0  89.3  0.1
fmnist  3     91.3  88.4  90.1  78.5  91.2  57.0  91.2  84.5  92.2  92.0  82.9  93.7  0.1
fmnist  4     88.5  86.3  89.8  82.9  87.2  50.4  87.6  83.2  88.0  90.3  87.0  90.7  0.4
fmnist  5     87.6  85.9  88.7  93.1  91.6  70.5  89.6  81.6  86.8  89.1  80.3  93.8  1.3
fmnist  6     81.4  74.7  79.7  66.7  73.8  48.3  74.3  72.1  76.9  79.3  74.9  82.8  0.1
fmnist  7     98.4  96.1  98.0  95.4  97.6  83.5  97.2  92.9  98.8  98.8  94.2  98.6  0.1
fmnist  8     86.0  84.6  88.3  70.0  79.5  55.1  81.9  79.4  87.5  88.0  79.1  89.4  0.4
fmnist  9     97.7  94.2  97.9  80.7  96.5  34.0  89.9  84.2  96.8  96.4  93.2  97.9  0.1
speech  all   49.2  52.2  50.0  61.3  62.1  59.3  56.2  52.5  57.4  53.9  58.3  62.4  1.1
pima    all   56.0  64.7  65.0  57.0  61.0  67.3  62.4  58.2  64.5  66.6  55.2  72.2  1.2
awid3   all   95.2  94.3  95.8  95.3  96.0  93.1  93.6  92.3  95.3  96.0  95.9  96.3  0.7
mimii   all   56.8  60.8  59.2  61.3  62.8  57.4  60.9  57.2  63.5  61.4  64.2  67.8  2.3
"""
"""Data set, class, the twelve columns of table 2, and the deviation of DASVDD."""

_TABLE_2_AVERAGES = """
mnist    91.3  86.9  92.3  91.9  96.9  50.6  91.3  61.8  96.7  97.5  94.8  97.7
cifar10  64.8  64.9  55.5  63.7  58.1  53.1  61.8  55.1  63.3  65.7  64.8  66.5
fmnist   90.7  88.0  90.6  80.9  88.4  51.8  88.4  82.8  89.8  91.2  84.8  92.6
"""
"""The rows `avg:` of table 2."""

TABLE_2 = {
    (dataset, class_name): {
        **{method: Figure(float(mean)) for method, mean in zip(METHODS[:-1], figures[:-2], strict=True)},
        METHODS[-1]: Figure(float(figures[-2]), float(figures[-1])),
    }
    for dataset, class_name, *figures in map(str.split, _TABLE_2.strip().splitlines())
}
"""(data set, class) -> method -> figure."""

TABLE_2_AVERAGES = {
    dataset: dict(zip(METHODS, map(float, figures), strict=True))
    for dataset, *figures in map(str.split, _TABLE_2_AVERAGES.strip().splitlines())
}
"""Data set -> method -> mean over its ten classes, as the paper prints it."""

TABLE_3 = {
    "mnist": {"trainable": 97.7, "fixed": 95.2},
    "cifar10": {"trainable": 66.5, "fixed": 64.7},
    "fmnist": {"trainable": 92.6, "fixed": 89.7},
}
"""Data set -> AUC with a trainable and with a fixed center, mean over classes."""

GAMMA = {
    "mnist": 0.75,
    "cifar10": 5.22,
    "fmnist": 0.28,
    "speech": 2.56,
    "pima": 713.64,
    "awid3": 12.42,
    "mimii": 0.92,
}
"""gamma by eq. 6 with T = 10, as section 4.3 reports it."""


def average(dataset: str, method: str) -> float:
    """Table 2's figure for a whole data set: its row of averages, or its only row."""
    if dataset in TABLE_2_AVERAGES:
        return TABLE_2_AVERAGES[dataset][method]
    return TABLE_2[dataset, "all"][method].mean
