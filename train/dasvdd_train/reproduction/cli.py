"""`dasvdd-reproduce`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from dasvdd_runtime import __version__
from dasvdd_runtime.cli.common import InputPath, examples, reports_errors

from .paper import GAMMA

DATASETS = ", ".join(GAMMA)
METHODS = "dasvdd, ocsvm, kde, if, ae, vae, dsvdd, anogan"
SETTINGS = (
    "widths, latent, code, output, preprocessing, epochs, batch_rows, learning_rate, weight_decay, kappa, gamma, "
    "gamma_initialisations, center"
)
"""What --help names; here, since it must not import torch with the experiments."""


@dataclass(frozen=True)
class Command:
    """What --help says of an experiment."""

    summary: str
    default: str
    """What is run unless options say otherwise."""
    examples: tuple[str, ...]


COMMANDS = {
    "table2": Command(
        "Table 2: AUC on every class of every data set",
        f"all data sets ({DATASETS}), all classes, ten seeds, DASVDD alone.",
        (
            "--data-dir data --datasets pima",
            "--data-dir data --datasets mnist --classes 0,8 --seeds 3 --out results/mnist",
            "--data-dir data --datasets pima --methods all",
            "--data-dir data --datasets mnist --classes 8 --set code=leaky_relu --set 'widths=[1024]'",
        ),
    ),
    "table3": Command(
        "Table 3: a trainable center against a fixed one",
        "mnist, cifar10 and fmnist, all classes, ten seeds.",
        ("--data-dir data --datasets mnist --classes 8 --seeds 2", "--data-dir data --datasets pima"),
    ),
    "gamma": Command(
        "Fig. 5: gamma from 1e-5 to 1e3 and by eq. 6, with ROC curves",
        "cifar10 class 8, ten seeds.",
        ("--data-dir data --datasets mnist --classes 8 --seeds 1 --epochs 100", "--data-dir data --datasets pima"),
    ),
    "trials": Command(
        "Fig. 6: T, the number of initialisations that gamma is averaged over",
        "cifar10, all classes, ten seeds.",
        ("--data-dir data --datasets mnist --classes 8 --seeds 3", "--data-dir data --datasets pima"),
    ),
    "kappa": Command(
        "Fig. 7: kappa, the share of a batch that trains the networks",
        "mnist, all classes, ten seeds.",
        ("--data-dir data --classes 8 --seeds 1", "--data-dir data --datasets pima"),
    ),
    "latent": Command(
        "Fig. 8: the latent size, from 32 to 2048",
        "mnist, cifar10, fmnist and speech, all classes, ten seeds.",
        ("--data-dir data --datasets mnist --classes 8 --seeds 1", "--data-dir data --datasets pima"),
    ),
    "convergence": Command(
        "Figs. 3 and 4: loss terms, center and biases over the iterations",
        "mnist, fmnist and cifar10, class 8 of each, one seed.",
        ("--data-dir data --datasets mnist", "--data-dir data --datasets pima"),
    ),
    "extremes": Command(
        "Fig. 2: the lowest and the highest scoring test images of every class",
        "mnist and fmnist, all classes, one seed.",
        ("--data-dir data --datasets mnist --classes 1,8", "--data-dir data --datasets fmnist --out results/images"),
    ),
}
"""Name of an experiment -> its help."""


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "dasvdd-reproduce table2 --data-dir data --datasets pima",
        "dasvdd-reproduce table2 --data-dir data --datasets mnist --classes 0,8 --seeds 3",
        "dasvdd-reproduce table2 --data-dir data --methods all --device cuda",
        "dasvdd-reproduce gamma --data-dir data --datasets mnist --classes 8 --epochs 30",
    ),
)
@click.version_option(__version__, prog_name="dasvdd-reproduce")
def main() -> None:
    """Run the experiments of the DASVDD paper and put each figure beside the paper's own.

    Every command writes CSV, Markdown and PNG into --out. Finished cells, one model each, are kept there in
    results.jsonl and never run again: interrupt a run at any time, and start it anew with the same command.
    """


def _methods(name: str) -> Callable[[Any], Any]:
    """--methods for table2, which alone compares them."""
    if name != "table2":
        return lambda command: command
    return click.option("--methods", default="dasvdd", show_default=True, help=f"Of {METHODS}; or 'all'.")


def _add(name: str, about: Command) -> None:
    @main.command(
        name,
        help=f"{about.summary}.\n\nBy default: {about.default}",
        short_help=about.summary,
        epilog=examples(*(f"dasvdd-reproduce {name} {options}" for options in about.examples)),
    )
    @click.option(
        "--data-dir",
        required=True,
        type=InputPath(file_okay=False),
        help="Folder of the data sets: mnist/, fashion_mnist/, cifar-10-batches-bin/, odds/, awid3/, mimii/.",
    )
    @click.option("--datasets", help=f"Names separated by commas, of {DATASETS}.")
    @click.option("--classes", help="Normal classes separated by commas, for instance 0,8.")
    @click.option("--seeds", type=click.IntRange(min=1), help="How many runs of each: seeds 0, 1, ...")
    @click.option("--epochs", type=click.IntRange(min=1), help="Instead of the paper's 300, to try things out.")
    @_methods(name)
    @click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="KEY=VALUE",
        help=f"A setting in place of section 4.3's; may be repeated. Keys: {SETTINGS}.",
    )
    @click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        help="What trains; auto: a GPU where there is one.",
    )
    @click.option(
        "--stack",
        default="auto",
        show_default=True,
        metavar="auto|N",
        help="Models of one shape trained at once; auto: as many as pay on the device.",
    )
    @click.option(
        "--out",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path("results"),
        show_default=True,
        help="Folder for tables, pictures and finished cells; several commands may share it.",
    )
    @reports_errors
    def command(**options: Any) -> None:
        # Before torch is imported, as in dasvdd-train.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        from dasvdd_runtime.extras import require

        require("dasvdd-reproduce", "train", ("torch", "matplotlib", "rich", "sklearn", "scipy"))
        from .command import reproduce

        for file in reproduce(name, **options):
            click.echo(f"wrote {file}")


for _name, _about in COMMANDS.items():
    _add(_name, _about)
