"""The option `--proved` of commands that print formulae."""

import numpy as np
from numpy.typing import NDArray

from formula_env.experiment.terminal import SafeConsole
from formula_env.tasks import SequenceTask
from formula_env.vocabulary import Tokens


def first_proved(task: SequenceTask, tokens: Tokens, number: int) -> NDArray[np.int64]:
    """Rows `(m,)` of the first formulae `(n, T)` that are proved, at most this number.

    A proof takes long, so the others are not tried. Raises FormulaError where the task has no proofs.
    """
    found, start = task.is_proved(tokens[:0]).nonzero()[0], 0
    with SafeConsole(stderr=True).status("proving formulae"):
        while len(found) < number and start < len(tokens):
            block = tokens[start : start + number - len(found)]
            found = np.concatenate([found, start + np.flatnonzero(task.is_proved(block))])
            start += len(block)
    return found
