"""AWID 3: columns chosen by what they hold, rows never misread."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dasvdd_train.reproduction.datasets import DataFileError, load_dataset
from dasvdd_train.reproduction.datasets.awid import load_awid3

HEADER = "frame.number,frame.time,frame.len,wlan.fc.type,wlan.ra,radiotap.present.tsft,wlan.fixed.reason_code,Label"


def row(number: int, label: str) -> str:
    """A row as tshark and the publisher write it: an address, a hexadecimal field, an empty field, a constant."""
    reason = hex(number % 5) if label != "Normal" else ""
    return f'{number},"Mar  3, 2020 12:00:{number:02d}",{60 + number},{number % 3},00:0c:29:aa,1,{reason},{label}'


def write_awid(folder: Path) -> list[Path]:
    files = []
    for place, attack, count in (("1.Deauth", "Deauth", 12), ("2.Disas", "Disas", 9)):
        lines = [row(i, "Normal" if i % 3 else attack) for i in range(count)]
        path = folder / "awid3" / place / f"{attack}_0.csv"
        path.parent.mkdir(parents=True)
        path.write_text("\n".join([HEADER, *lines]) + "\n")
        files.append(path)
    return files


def test_keeps_the_columns_of_changing_numbers(tmp_path: Path) -> None:
    """Length, type and the hexadecimal reason stay; number, time, address and the constant go; an empty cell is 0."""
    write_awid(tmp_path)
    split = load_dataset("awid3", tmp_path).split("all", seed=0)
    assert split.train.shape == (7, 3)
    assert split.labels.tolist() == [False] * 7 + [True] * 7
    normal = np.concatenate([split.train, split.test[~split.labels]])
    assert not normal[:, 2].any()
    expected = sorted(60 + i for count in (12, 9) for i in range(count) if i % 3)
    assert sorted(normal[:, 0]) == expected
    assert sorted(split.test[split.labels][:, 2]) == sorted(
        float(i % 5) for count in (12, 9) for i in range(0, count, 3)
    )


def test_a_sample_is_a_part_of_the_rows_and_always_the_same(tmp_path: Path) -> None:
    """With room for four rows of each kind, four of those there are drawn, the same ones each time."""
    write_awid(tmp_path)
    one, two = (load_awid3(tmp_path, rows_of_each=4) for _ in range(2))
    assert one.normal.shape[0] == one.anomalous.shape[0] == 4
    np.testing.assert_array_equal(one.normal, two.normal)
    assert len({tuple(values) for values in one.normal.tolist()}) == 4


def test_a_file_cut_anywhere_in_its_last_line_is_named(tmp_path: Path) -> None:
    """A line that lacks fields, or a letter of its label, is an error with its file, never an attack called 'Norm'."""
    path = write_awid(tmp_path)[0]
    whole = path.read_text()
    last_line = len(whole.splitlines()[-1])
    for length in range(len(whole) - last_line, len(whole) - 1):
        path.write_text(whole[:length])
        with pytest.raises(DataFileError, match=r"Deauth_0\.csv: line 13"):
            load_awid3(tmp_path)


def test_a_file_with_other_columns_is_named(tmp_path: Path) -> None:
    """Files whose header differs, or that have no label, are not mixed."""
    path = write_awid(tmp_path)[1]
    whole = path.read_text()
    for header in (HEADER.replace("frame.len", "frame.cap_len"), HEADER.removesuffix(",Label")):
        path.write_text(whole.replace(HEADER, header))
        with pytest.raises(DataFileError, match=r"Disas_0\.csv"):
            load_awid3(tmp_path)
