from itertools import permutations

import numpy as np
import pytest

from formula_env.checkers import equation, equation_forms
from formula_env.experiment.config import DataConfig
from formula_env.tasks import make_task
from formula_env.tasks.base import SequenceTask

TASKS = [
    make_task("equation"),
    make_task("equation", operators="+-*/^", operands=4, length=16, largest=12, parentheses=True),
    make_task("equation", operators="+*", operands=3, length=9, base=3, largest=8),
]


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_equal_forms_are_correct_and_have_one_canonical_form(task: SequenceTask) -> None:
    for formula in task.decode(task.sample(300, np.random.default_rng(0))):
        forms = task.equal_forms(formula)
        assert forms[0] == formula
        assert len(set(forms)) == len(forms) <= equation_forms.MAX_FORMS + 1
        base = task.options["base"]
        assert equation.check(forms, base).all()
        assert all(sorted(form) == sorted(formula) for form in forms if "(" not in formula + form)


def test_sums_have_all_orders_of_two_and_some_of_three() -> None:
    assert equation_forms.equal_forms("12+7=19") == ["12+7=19", "7+12=19"]
    assert equation_forms.equal_forms("7-9=-2") == ["7-9=-2"]
    forms = equation_forms.equal_forms("1+2+3=6")
    assert set(forms) <= {f"{a}+{b}+{c}=6" for a, b, c in permutations("123")}
    assert len(forms) == 4
    assert equation_forms.equal_forms("2*(3+4)=14") == ["2*(3+4)=14", "2*(4+3)=14", "(3+4)*2=14", "(4+3)*2=14"]
    assert set(equation_forms.equal_forms("1+2*3=7")) == {"1+2*3=7", "1+3*2=7", "2*3+1=7", "3*2+1=7"}
    assert equation_forms.equal_forms("-3+5=2") == ["-3+5=2", "5+(-3)=2"]
    assert equation_forms.equal_forms("1+") == ["1+"]


def test_training_data_gain_the_forms_that_are_neither_there_nor_held_out() -> None:
    task = make_task("equation")
    texts = ["1+2=3", "2+1=3", "5+5=10", "12+7=19"]
    extended = DataConfig().extended(task.encode(texts), task)
    assert task.decode(extended) == [*texts, "7+12=19"]
    assert task.decode(DataConfig(equal_forms=False).extended(task.encode(texts), task)) == texts


def test_held_out_formulae_are_never_trained_on(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("file") / "sums.txt"
    path.write_text("\n".join(f"{a}+{b}={a + b}" for a in range(9) for b in range(9)))
    task = make_task("formula-file", path=str(path), checker="equation", held_out_size=30)
    training, held_out = task.training_set(), task.held_out()
    assert training is not None
    assert held_out is not None
    extended = task.decode(DataConfig().extended(training, task))
    assert not set(extended) & set(task.decode(held_out))
    assert len(extended) == 51


def test_a_task_without_other_forms_is_left_alone() -> None:
    task = make_task("binary-sum")
    formulae = task.enumerate()
    assert DataConfig().extended(formulae, task) is formulae
