"""Figs. 2, 3 and 4: what is observed of a training, and which images are drawn."""

from __future__ import annotations

import csv
import struct
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from dasvdd_train.reproduction import cli
from dasvdd_train.reproduction.experiments.convergence import settled_at
from dasvdd_train.reproduction.experiments.extremes import extremes
from small_pima import write_pima


def reproduce(*arguments: object) -> list[str]:
    done = CliRunner().invoke(cli.main, [*map(str, arguments)])
    assert done.exit_code == 0, done.stderr
    return done.stdout.splitlines()


def write_digits(folder: Path) -> None:
    """Images of 4 x 4 in idx files: those of class 1 have their right half bright, those of class 0 their left."""
    random = np.random.default_rng(0)
    folder.mkdir()
    for part, count in (("train", 60), ("t10k", 12)):
        labels = np.arange(count, dtype=np.uint8) % 2
        images = random.integers(0, 60, (count, 4, 4)).astype(np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[:, 2 * label : 2 * label + 2] += 190
        (folder / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, count, 4, 4) + images.tobytes())
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + labels.tobytes())


def test_convergence_has_both_terms_of_every_iteration(tmp_path: Path) -> None:
    """Two batches an epoch; SVDD leads at the first iteration, as fig. 4 shows; c begins far from its end."""
    write_pima(tmp_path)
    out = tmp_path / "out"
    reproduce("convergence", "--data-dir", tmp_path, "--datasets", "pima", "--epochs", 30, "--out", out)
    with (out / "convergence_pima_all_seed0.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["iteration"]) for row in rows] == list(range(60))
    terms = np.array([[float(row[f"{name}_loss"]) for name in ("total", "reconstruction", "svdd")] for row in rows])
    np.testing.assert_allclose(terms[:, 0], terms[:, 1] + terms[:, 2], rtol=1e-5)
    assert terms[0, 2] > terms[0, 1]
    assert terms[-1, 0] < terms[0, 0]
    norms = [float(row["center_norm"]) for row in rows]
    assert norms[0] != norms[1]
    assert (out / "convergence_pima_all_seed0.png").read_bytes().startswith(b"\x89PNG")
    assert "center settled after" in (out / "convergence.md").read_text()


def test_a_center_settles_where_it_no_longer_leaves() -> None:
    """Within 5 % of its whole way from its end, for good: a visit on the way there does not count."""
    way = np.array([100.0, 4, 50, 6, 4.9, 1, 0])
    arrays = {"center": way[:, None], "snapshot_iteration": np.array([0, 1, 2, 3, 4, 10, 20])}
    assert settled_at(arrays) == 4
    still = {"center": np.ones((3, 1)), "snapshot_iteration": np.array([0, 1, 2])}
    assert settled_at(still) == 0


def test_extremes_are_the_lowest_the_highest_normal_and_the_highest_score() -> None:
    """Index of each; the highest normal one is not the highest of all."""
    score = np.array([3.0, 1, 9, 5, 2])
    assert extremes(score, np.array([False, False, True, False, True])) == (1, 3, 2)


@pytest.mark.parametrize("asked", [(), ("--classes", "1")], ids=["all classes", "one"])
def test_the_picture_of_extremes_has_a_column_a_class(tmp_path: Path, asked: tuple[str, ...]) -> None:
    """The lowest score is of the normal class, the highest of the other; a table names the test images."""
    write_digits(tmp_path / "mnist")
    out = tmp_path / "out"
    settings = ("--epochs", 60, "--set", "widths=[8]", "--set", "latent=2", "--datasets", "mnist")
    reproduce("extremes", "--data-dir", tmp_path, *settings, *asked, "--out", out)
    with (out / "extremes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == [c for c in ("01" if not asked else "1") for _ in range(3)]
    for row in rows:
        anomalous = int(row["test_index"]) % 2 != int(row["class"])
        assert bool(int(row["anomalous"])) == anomalous == (row["kind"] == "highest score")
    assert (out / "extremes_mnist.png").read_bytes().startswith(b"\x89PNG")
