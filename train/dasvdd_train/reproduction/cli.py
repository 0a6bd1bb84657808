"""`dasvdd-reproduce`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
from dasvdd_runtime import __version__
from dasvdd_runtime.cli.common import InputPath, examples, reports_errors

COMMANDS = {
    "table2": "AUC on every class of every data set, beside the paper's figures.",
    "table3": "A trainable center against a fixed one.",
    "gamma": "Fig. 5: gamma from 1e-5 to 1e3 and by eq. 6, with ROC curves.",
    "trials": "Fig. 6: T, the number of initialisations that gamma is averaged over.",
    "kappa": "Fig. 7: kappa, the share of a batch that trains the networks.",
    "latent": "Fig. 8: the latent size, from 32 to 2048.",
    "convergence": "Figs. 3 and 4: loss terms, center and biases over the iterations.",
    "extremes": "Fig. 2: the lowest and the highest scoring test images of every class.",
}
"""Name of an experiment -> its help; here, since --help must not import torch with the experiments."""


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


def _add(name: str, summary: str) -> None:
    @main.command(name, help=summary, epilog=examples(f"dasvdd-reproduce {name} --data-dir data --device auto"))
    @click.option(
        "--data-dir",
        required=True,
        type=InputPath(file_okay=False),
        help="Folder of the data sets: mnist/, fashion_mnist/, cifar-10-batches-bin/, odds/, awid3/, mimii/.",
    )
    @click.option("--datasets", help="Names separated by commas; default: those of the paper's experiment.")
    @click.option("--classes", help="Normal classes separated by commas; default: those of the paper's experiment.")
    @click.option("--seeds", type=click.IntRange(min=1), help="Runs of each, seeds 0, 1, ...; default: as the paper.")
    @click.option("--epochs", type=click.IntRange(min=1), help="Fewer than the paper's 300, to try things out.")
    @click.option("--methods", default="dasvdd", show_default=True, help="For table2: names, or 'all'.")
    @click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="A setting of section 4.3.")
    @click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
    @click.option(
        "--stack",
        default="auto",
        show_default=True,
        metavar="auto|N",
        help="Models of one shape trained at once; auto: as many as pay on the device.",
    )
    @click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("results"), show_default=True)
    @reports_errors
    def command(**options: Any) -> None:
        # Before torch is imported, as in dasvdd-train.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        from dasvdd_runtime.extras import require

        require("dasvdd-reproduce", "train", ("torch", "matplotlib", "rich", "sklearn", "scipy"))
        from .command import reproduce

        for file in reproduce(name, **options):
            click.echo(f"wrote {file}")


for _name, _summary in COMMANDS.items():
    _add(_name, _summary)
