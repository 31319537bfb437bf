"""Run every client on every combination of task, reward model and observation; renew the table in docs/clients.md.

`python -m benchmarks.clients` makes a virtual environment for each group of clients under `build/clients`, which
takes several minutes and gigabytes. CleanRL can't be installed: CLEANRL names a checkout of it; without one it is
left out.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
REQUIREMENTS = HERE / "requirements"
RESULTS = HERE / "results.jsonl"
DOCUMENT = ROOT / "docs" / "clients.md"
START, END = "<!-- table -->\n", "<!-- end of table -->\n"

CLIENTS = {
    "sb3_ppo": "sb3",
    "sb3_dqn": "sb3",
    "sb3_ars": "sb3",
    "rl_zoo3_ppo": "sb3",
    "rl_zoo3_dqn": "sb3",
    "sbx_ppo": "sb3",
    "sbx_dqn": "sb3",
    "minari_record": "sb3",
    "cleanrl_ppo": "sb3",
    "cleanrl_dqn": "sb3",
    "tianshou_ppo": "tianshou",
    "tianshou_dqn": "tianshou",
    "torchrl_ppo": "torchrl",
    "torchrl_dqn": "torchrl",
    "skrl_ppo": "skrl",
    "skrl_dqn": "skrl",
    "agilerl_ppo": "agilerl",
    "agilerl_dqn": "agilerl",
    "rllib_ppo": "rllib",
    "rllib_dqn": "rllib",
}
"""Each script, and the file of requirements that its virtual environment is made of."""

TIMEOUT = 1_800
"""Seconds for all combinations of one client."""

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clients", nargs="*", help="only these scripts; by default all")
    parser.add_argument("--venvs", type=Path, default=ROOT / "build" / "clients", help="where they are made")
    args = parser.parse_args()
    chosen = args.clients or [name for name in CLIENTS if "CLEANRL" in os.environ or "cleanrl" not in name]
    if unknown := set(chosen) - set(CLIENTS):
        sys.exit(f"unknown clients {sorted(unknown)}; there are: {', '.join(CLIENTS)}")
    rows, failed = read(RESULTS), []
    for name in chosen:
        print(f"{name}: ", end="", flush=True)
        try:
            found = run(name, interpreter(CLIENTS[name], args.venvs))
        except subprocess.SubprocessError as error:
            print(f"can't be run, its rows stay: {error}\n{_text(error)}", flush=True)
            failed.append(name)
            continue
        print(f"{sum(row['error'] is None for row in found)} of {len(found)}", flush=True)
        rows = [row for row in rows if row["client"] != name] + found
        rows.sort(key=lambda row: list(CLIENTS).index(row["client"]))
        RESULTS.write_text("".join(json.dumps(row) + "\n" for row in rows))
    head, _, rest = DOCUMENT.read_text().partition(START)
    DOCUMENT.write_text(f"{head}{START}{table(rows)}\n{END}{rest.partition(END)[2]}")
    print(f"\n{table(rows)}")
    if failed:
        sys.exit(f"not renewed: {', '.join(failed)}")


def interpreter(group: str, venvs: Path) -> Path:
    """The Python of a group's virtual environment, made if it isn't there."""
    python = venvs / group / "bin" / "python"
    ready = venvs / group / "ready"
    if not ready.exists():
        subprocess.run([sys.executable, "-m", "venv", str(python.parents[1])], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        # torch by itself first: together with others it may come as another build, of several GB.
        subprocess.run([*pip, "torch==2.13.0"], check=True)
        subprocess.run([*pip, "--requirement", str(REQUIREMENTS / f"{group}.txt")], check=True)
        ready.touch()
    return python


def run(name: str, python: Path) -> list[Row]:
    """All combinations of one client. Raises SubprocessError if it ends before the last one."""
    command = [str(python), "-W", "ignore", "-m", "benchmarks.clients.matrix", name]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True, env=environment)
    return [{"client": name} | json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def _text(error: subprocess.SubprocessError) -> str:
    """What a command that failed wrote to stderr last."""
    told = getattr(error, "stderr", None) or ""
    return "\n".join((told if isinstance(told, str) else told.decode(errors="replace")).splitlines()[-10:])


def read(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def table(rows: list[Row]) -> str:
    """Markdown: how many combinations ran, of each client and observation, and the first error."""
    lines = ["| client | one-hot | tokens | first error |", "|---|---|---|---|"]
    for name in dict.fromkeys(row["client"] for row in rows):
        cells = []
        for observation in ("one-hot", "tokens"):
            found = [row for row in rows if row["client"] == name and row["observation"] == observation]
            cells.append(f"{sum(row['error'] is None for row in found)} of {len(found)}")
        errors = [row["error"] for row in rows if row["client"] == name and row["error"]]
        cells.append(errors[0].splitlines()[0].replace("|", "\\|")[:110] if errors else "")
        lines.append(f"| {' | '.join([name.replace('_', ' '), *cells])} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
