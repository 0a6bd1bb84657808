"""One experiment from the command line's words to the files that it writes."""

from __future__ import annotations

from pathlib import Path

from dasvdd_runtime.errors import ConfigError, DataError, InputMissing, nearest
from dasvdd_runtime.extras import require
from dasvdd_runtime.files import require_writable
from dasvdd_runtime.words import count

from ..config import parse_assignment
from ..trainer import choose_device
from .baselines import PYOD
from .experiments import EXPERIMENTS, Context, Plan
from .experiments.common import require_known_classes
from .methods import METHODS
from .progress import Reporter
from .results import FILE, Results
from .runner import Library, run_cells
from .settings import ENTRIES, settings_for


def reproduce(
    name: str,
    *,
    data_dir: Path,
    datasets: str | None,
    classes: str | None,
    seeds: int | None,
    epochs: int | None,
    assignments: tuple[str, ...],
    device: str,
    stack: str,
    out: Path,
    methods: str = "dasvdd",
) -> list[Path]:
    """Run the experiment `name` and return the files written into `out`.

    Raises ConfigError for a name that is not known, InputMissing if none of the data sets is there, and DataError if
    no cell could be run.
    """
    experiment = EXPERIMENTS[name]
    changes = dict(map(parse_assignment, assignments)) | ({} if epochs is None else {"epochs": epochs})
    plan = Plan(
        datasets=_known(datasets, experiment.datasets, tuple(ENTRIES), "--datasets"),
        classes=experiment.classes if classes is None else _some(classes, "--classes", "8"),
        seeds=seeds or experiment.seeds,
        changes=changes,
        methods=tuple(METHODS) if methods == "all" else _known(methods, (), tuple(METHODS), "--methods"),
    )
    if {"vae", "dsvdd", "anogan"} & set(plan.methods):
        require("--methods vae, dsvdd and anogan", "baselines", PYOD)
    for dataset in plan.datasets:
        settings_for(dataset, changes)
    place = choose_device(device).type
    at_once = _at_once(stack)
    require_writable(out / FILE)
    results = Results(out)
    library = Library(data_dir)
    with Reporter() as reporter:
        if results.damaged_lines:
            reporter.say(
                f"warning: {out / FILE}: {count(results.damaged_lines, 'line')} cannot be read; their cells run again"
            )
        cells = experiment.cells(plan, library)
        for reason in library.missing.values():
            reporter.say(f"warning: {reason}")
        if not library.loaded:
            raise InputMissing("none of the data sets can be read: see above")
        if classes is not None:
            require_known_classes(plan, library)
        failed = run_cells(cells, library, results, reporter, device=place, stack=at_once)
    files = experiment.report(Context(plan, library, results, failed), out)
    if cells and len(failed) == len({cell.key for cell in cells}):
        raise DataError(f"no cell could be run: {next(iter(failed.values()))}")
    return files


def _at_once(text: str) -> int | None:
    """Models to train at once, None for 'auto'. Raises ConfigError for anything else."""
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"--stack {text}: expected 'auto' or how many models to train at once, for instance 10")
    return int(text)


def _some(text: str, option: str, example: str) -> tuple[str, ...]:
    """The words of `text`, separated by commas. Raises ConfigError if there is none."""
    words = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if not words:
        raise ConfigError(f"{option} '{text}': names are expected, for instance {option} {example}")
    return words


def _known(text: str | None, default: tuple[str, ...], known: tuple[str, ...], option: str) -> tuple[str, ...]:
    """The words of `text`, or `default`. Raises ConfigError for one that is not `known`."""
    if text is None:
        return default
    words = _some(text, option, known[0])
    for word in words:
        if word not in known:
            raise ConfigError(f"{option}: '{word}' is unknown.{nearest(word, list(known))} Known: {', '.join(known)}")
    return words
