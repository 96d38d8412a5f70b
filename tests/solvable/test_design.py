"""Labels of a fixed design: what is summed row by row is what was handed out."""

import numpy as np
import pytest

from collapse_utils.rows import Ensemble, subset
from collapse_utils.solvable.design import Design


@pytest.mark.parametrize("shape", [(6, 2), (4, 6, 2)], ids=["one design", "one a replicate"])
def test_totals_of_copies_and_of_any_rows_are_sums_by_row(shape, seed):
    rng = np.random.default_rng(seed)
    design = Design(rng.standard_normal(shape))
    labels = rng.standard_normal((18, 4))  # three copies, four replicates
    data = design.labelled(labels)
    total, count = design.totals(data)
    np.testing.assert_allclose(total, labels[:6] + labels[6:12] + labels[12:], rtol=1e-12)
    assert (count == 3).all()
    part = subset(data, 11, rng)
    total, count = design.totals(part)
    for row in range(6):
        mine = part.rows[0] == row
        assert (count[row] == mine.sum(axis=0)).all()
        np.testing.assert_allclose(total[row], np.where(mine, part.rows[1], 0).sum(axis=0), atol=1e-12)


def test_whole_copies_in_another_order_have_the_same_totals(seed):
    rng = np.random.default_rng(seed)
    design = Design(rng.standard_normal((5, 2)))
    data = design.labelled(rng.standard_normal((15, 3)))
    order = rng.permutation(15)
    for here, there in zip(design.totals(data), design.totals(Ensemble(tuple(a[order] for a in data.rows))), strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-12, atol=1e-12)


def test_a_part_of_a_copy_is_refused():
    with pytest.raises(ValueError, match="multiple of the design's 5 rows; got 7"):
        Design(np.ones((5, 2))).copies(7)
