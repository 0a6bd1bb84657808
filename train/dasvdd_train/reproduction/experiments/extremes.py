"""Fig. 2: the lowest and the highest scoring test images of every class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..cells import Cell
from ..plots import figure, write_png
from ..runner import Library
from ..settings import ENTRIES
from ..tables import Row, markdown_table, write_csv, write_markdown
from .common import Context, Experiment, Plan, cells_of, splits_of

ROWS = ("lowest score", "highest score of the normal class", "highest score")


def cells(plan: Plan, library: Library) -> list[Cell]:
    """A run a class, of data sets whose rows are images; cells of table 2."""
    return [
        cell
        for dataset, class_name in splits_of(plan, library)
        if (data := library.get(dataset)) is not None and data.image_shape
        for cell in cells_of(plan, library, dataset, class_name)[:1]
    ]


def report(context: Context, out: Path) -> list[Path]:
    """extremes.csv, extremes.md, and extremes_<data set>.png with a column a class."""
    wanted = cells(context.plan, context.library)
    files: list[Path] = []
    rows: list[Row] = []
    for dataset in context.plan.datasets:
        data = context.library.get(dataset)
        mine = [cell for cell in wanted if cell.dataset == dataset and context.results.get(cell)]
        if data is None or data.image_shape is None or not mine:
            continue
        columns = []
        for cell in mine:
            arrays = context.results.arrays(cell)
            chosen = extremes(arrays["score"], arrays["label"])
            images = data.split(cell.class_name, seed=0).test[list(chosen)]
            columns.append((cell.class_name, images))
            rows += [
                (dataset, cell.class_name, kind, index, float(arrays["score"][index]), int(arrays["label"][index]))
                for kind, index in zip(ROWS, chosen, strict=True)
            ]
        files.append(_plot(out / f"extremes_{dataset}.png", ENTRIES[dataset].title, columns, data.image_shape))
    header = ("dataset", "class", "kind", "test_index", "score", "anomalous")
    files.append(write_csv(out / "extremes.csv", header, rows))
    pictures = [f"![{file.stem}]({file.name})" for file in files if file.suffix == ".png"]
    says = (
        "The paper shows the lowest and the highest scores, and finds the highest deceptive for human eyes too; it "
        "does not say whether they are of the normal class, so both are drawn."
    )
    table = markdown_table(header, [(*row[:4], f"{row[4]:.4g}", "yes" if row[5] else "no") for row in rows])
    no_images = [name for name, data in context.library.loaded.items() if not data.image_shape]
    notes = [f"Not drawn, since its rows are no images: {ENTRIES[name].title}." for name in no_images]
    parts = [*context.preamble(wanted), *notes, *pictures, says, table]
    return [write_markdown(out / "extremes.md", "Fig. 2: lowest and highest scores", parts), *files]


def extremes(score: NDArray[np.float64], label: NDArray[np.bool_]) -> tuple[int, int, int]:
    """Indices of the lowest score, of the highest of a normal item (`label` False), and of the highest of all."""
    return int(score.argmin()), int(np.where(label, -np.inf, score).argmax()), int(score.argmax())


def _plot(path: Path, title: str, columns: list[tuple[str, NDArray[np.float32]]], image_shape: tuple[int, ...]) -> Path:
    drawing = figure(width=1.1 * len(columns) + 1.4, height=4.2)
    grid = drawing.subplots(len(ROWS), len(columns), squeeze=False)
    for column, (name, images) in enumerate(columns):
        for row, pixels in enumerate(images):
            axes = grid[row, column]
            image = pixels.reshape(image_shape) / 255
            axes.imshow(np.moveaxis(image, 0, -1) if image.ndim == 3 else image, cmap="gray", vmin=0, vmax=1)
            axes.set(xticks=[], yticks=[])
            if column == 0:
                axes.set_ylabel(ROWS[row].replace(" of the", "\nof the"), fontsize=7)
        grid[0, column].set_title(name, fontsize=8)
    drawing.suptitle(f"{title},\na column for each\nnormal class", fontsize=9)
    return write_png(path, drawing)


EXTREMES = Experiment(
    name="extremes",
    datasets=("mnist", "fmnist"),
    classes=None,
    seeds=1,
    cells=cells,
    report=report,
)
