"""What a training report is made of, made up."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from dasvdd_runtime.calibration import Calibration
from dasvdd_runtime.contract import TrainingSummary
from dasvdd_runtime.detector import DecisionSettings
from dasvdd_train.evaluation import ScoredStream, Separation, evaluate
from dasvdd_train.inspection import Clip, Inspection, RivalResult
from dasvdd_train.metrics import EpochMetrics
from dasvdd_train.report import ReportData, write_report

HOP = 0.5
DECISION = DecisionSettings()
CALIBRATION = Calibration(
    threshold=4.0,
    false_alarms_per_day=1.0,
    episodes_per_day_upper=215.7,
    confidence=0.95,
    hours=1 / 3,
    windows=2400,
    extrapolates=True,
    method="fitted tail",
    usual_score=0.0,
)
VOID = {"meta", "link", "br", "hr", "img", "input", "wbr"}


RATE_HZ = 8000


def clip(role: str = "train", *, hz: float = 1000.0, channels: int = 1) -> Clip:
    """Two seconds of a tone of half amplitude."""
    tone = 0.5 * np.sin(2 * np.pi * hz * np.arange(2 * RATE_HZ) / RATE_HZ)
    samples = np.repeat(tone[:, None], channels, axis=1).astype(np.float32)
    return Clip(f"{role}.wav", role, 10.0, 11.0, 5.0, samples)  # type: ignore[arg-type]


def inspection() -> Inspection:
    """Codes around the center, a training and a held-out clip, and two rivals."""
    rng = np.random.default_rng(4)
    roles = ("train", "holdout", "test_normal", "test_anomalous")
    return Inspection(
        training=[],
        codes={role: rng.standard_normal((50, 6)).astype(np.float32) + 3 * (i == 3) for i, role in enumerate(roles)},
        clips=[clip(), clip("holdout")],
        rivals=[RivalResult("Mahalanobis", Separation(0.9, 0.7)), RivalResult("PCA-Q", Separation(0.8, 0.6))],
        rivals_missing="",
        raw_rows=np.zeros((1, 1), np.float32),
    )


NOTHING = Inspection([], {}, [], [], "there are no labels", np.zeros((0, 1), np.float32))


def stream(role: str, name: str, level: float, windows: int = 120) -> ScoredStream:
    """Noisy scores around `level`."""
    scores = level * np.random.default_rng(len(name)).uniform(0.8, 1.2, windows)
    return ScoredStream(name, role, "pump", "", np.arange(windows) * HOP, scores)  # type: ignore[arg-type]


def report_data(*, faulty_level: float = 40.0, bands: int = 128) -> ReportData:
    """A run on one machine with two recordings a role."""
    levels = {"holdout": 2.0, "test_normal": 2.0, "test_anomalous": faulty_level}
    streams = [stream(role, f"{role}_{i}.wav", level) for role, level in levels.items() for i in range(2)]
    usual = np.linspace(1, 2, bands)
    faulty = usual.copy()
    faulty[bands // 2] *= 30
    return ReportData(
        name="pump7",
        kind="audio",
        warnings=[],
        notes=[],
        held_out_seconds=121.0,
        sample_rate_hz=RATE_HZ,
        channel_names=("channel 0",),
        units=("full scale",),
        channel="0",
        window_seconds=1.0,
        center=np.zeros(6, np.float32),
        inspection=inspection(),
        with_audio=True,
        epochs=[EpochMetrics(i + 1, 30 / (i + 1), 2.0 / (i + 1), 3.0, i * 0.1, 35 / (i + 1)) for i in range(40)],
        streams=streams,
        residual_names=[f"{100 + 50 * i} Hz" for i in range(bands)],
        residual_noun="band",
        residual_by_role={"holdout": usual.tolist(), "test_anomalous": faulty.tolist()},
        calibration=CALIBRATION,
        decision=DECISION,
        window_hop_seconds=HOP,
        evaluation=evaluate(
            streams, calibration=CALIBRATION, decision=DECISION, window_seconds=1.0, window_hop_seconds=HOP
        ),
        settings={
            "training.epochs": 40,
            "network.widths": [1024, 256],
            "data.sample_rate_hz": None,
            "training.early_stopping_epochs": None,
        },
        training=TrainingSummary(recordings=2, seconds=600.0, data_fingerprint="ab12" * 16),
        versions={"dasvdd": "0.1.0", "torch": "2.13.0"},
    )


def written(tmp_path: Path, data: ReportData) -> str:
    """The page that `write_report` leaves on disk."""
    path = tmp_path / "report.html"
    write_report(path, data)
    return path.read_text(encoding="utf-8")


class Page(HTMLParser):
    """Checks that tags nest, and keeps ids, attributes and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open `tag`."""
        self.tags.append(tag)
        self.attributes += [(tag, key, value or "") for key, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An SVG element without content."""
        self.tags.append(tag)
        self.attributes += [(tag, key, value or "") for key, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        """Close `tag`, which must be the innermost."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Keep the text."""
        self.text.append(data)

    def values(self, key: str) -> list[str]:
        """Every value of the attribute `key`."""
        return [value for _, name, value in self.attributes if name == key]
