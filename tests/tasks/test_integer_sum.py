import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from formula_env.errors import FormulaError
from formula_env.tasks import make_any_task, make_task
from formula_env.tasks.integer_sum import IntegerSum

variants = pytest.mark.parametrize("task", [IntegerSum(), IntegerSum(real=True), IntegerSum(largest=3)], ids=str)


@variants
def test_samples_are_true_and_uniform_over_the_cells(task: IntegerSum) -> None:
    vectors = task.sample(40_000, np.random.default_rng(0))
    assert vectors.shape == (40_000, 3)
    assert not task.error(vectors).any()
    assert vectors.min() >= 0
    assert vectors[:, :2].max() <= task.largest
    assert task.real or (vectors == np.round(vectors)).all()
    counts = np.bincount(task.cells(vectors), minlength=task.num_cells)
    expected = 40_000 / task.num_cells
    chi_square = ((counts - expected) ** 2 / expected).sum()
    degrees = task.num_cells - 1
    assert abs(chi_square - degrees) < 5 * np.sqrt(2 * degrees)


@variants
def test_quantiles_are_those_of_the_samples(task: IntegerSum) -> None:
    numbers = np.sort(task.sample(20_000, np.random.default_rng(0))[:, :2], axis=0)
    exact = task.quantiles((np.arange(20_000) + 0.5) / 20_000)
    assert np.abs(numbers - exact).mean() < 0.05 * task.largest


@given(st.floats(-100, 100), st.floats(-100, 100))
def test_cells_are_unit_squares(a: float, b: float) -> None:
    for task, low in ((IntegerSum(), -0.5), (IntegerSum(real=True), 0.0)):
        (cell,) = task.cells(np.array([[a, b, 0.0]]))
        across = round(task.num_cells**0.5)
        if low <= a < low + across and low <= b < low + across:
            column, row = divmod(int(cell), across)
            assert column == np.floor(a - low)
            assert row == np.floor(b - low)
        else:
            assert cell == -1


def test_errors_and_text_by_hand() -> None:
    vectors = np.array([[2.0, 3.0, 5.0], [7.947, -0.006, 7.9607]])
    np.testing.assert_allclose(IntegerSum().error(vectors), [0.0, -0.0197])
    assert IntegerSum().decode(vectors) == ["2.000 3.000 5.000", "7.947 -0.006 7.961"]
    assert IntegerSum(largest=4, real=True).options == {"largest": 4, "real": True}


def test_it_has_no_symbols() -> None:
    assert isinstance(make_any_task("integer-sum", real=True), IntegerSum)
    with pytest.raises(FormulaError, match="made of numbers, not of symbols; there are: binary-sum"):
        make_task("integer-sum")
    with pytest.raises(FormulaError, match="largest must be from 1 to 1000, got 0"):
        IntegerSum(largest=0)
    with pytest.raises(FormulaError, match="integer-sum got an unexpected keyword argument 'length'"):
        make_any_task("integer-sum", length=8)
