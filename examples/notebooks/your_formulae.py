# %% [markdown]
# # Formulae of your own
#
# A file with one formula a line is a task. Here it holds half of the sums up to 20, the generator learns from
# it, and the checker says what of its writing is new and right.

# %%
import random
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp

import formula_env

folder = Path(mkdtemp())
sums = [f"{a}+{b}={a + b}" for a in range(21) for b in range(21)]
random.Random(0).shuffle(sums)
(folder / "sums.txt").write_text("\n".join(sums[:220]))

# %% [markdown]
# What a terminal calls `formula-env train mle --task formula-file …`:

# %%
run = folder / "run"
task = ["--task", "formula-file", "--task.path", str(folder / "sums.txt"), "--task.checker", "equation"]
settings = ["--preset", "None", "--algo.rounds", "600", "--eval-every", "300", "--eval-samples", "2000"]
program = [sys.executable, "-m", "formula_env"]
subprocess.run([*program, "train", "mle", *task, *settings, "--out", str(run)], check=True)

# %% [markdown]
# Correct formulae that are not in the file, the most probable first, and a score of what somebody else wrote:

# %%
subprocess.run([*program, "found", str(run), "--top", "5"], check=True)
others = ["1+1=2", "2+2=5", "12+7=19", "12++7"]
score = formula_env.score(others, formula_env.make_task("equation"))
print(f"well-formed {score.valid.number} of {score.num}, correct {score.correct.number}")
