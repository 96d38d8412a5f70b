"""The page on costs says by which power time and memory grow, from what was measured."""

import numpy as np
import pytest

from collapse_book import growth
from collapse_utils import mirror
from workflow import files


def test_a_power_is_the_slope_in_log_log():
    sizes = np.array([10, 20, 40, 80])
    assert growth.power(sizes, 3 * sizes**2) == pytest.approx((2, 0), abs=1e-7)
    slope, error = growth.power(sizes, sizes * np.array([1, 1.1, 0.9, 1]))
    assert abs(slope - 1) < 3 * error


def test_each_heavy_model_was_measured_at_four_sizes_and_grows_no_faster_than_its_arithmetic():
    found = files.json(mirror.project_file(growth.FILE), dict)["growths"]
    most = {
        "rows of 64 tokens": 1,
        "images": 1,
        "seeds": 1,
        "students": 1,
        "networks": 1,
        "examples": 1,
        "tokens a row": 1,
        "atoms": 2,
    }
    assert {row["model"].partition(",")[0] for row in found} >= {
        "language model",
        "autoencoder",
        "molecule denoiser",
        "decoder",
        "divisors",
    }
    for row in found:
        assert len(row["sizes"]) == len(row["seconds"]) == len(row["megabytes"]) == 4
        assert 0 < growth.power(row["sizes"], row["seconds"])[0] < most.get(row["grows"], 3) + 0.25
    table, said = growth.tables()
    assert table.count("\n") == len(found) + 1
    assert "thread" in said
