"""Clients that know nothing of us, as subprocesses in which any warning is an error."""

import json
import subprocess
import sys
from itertools import cycle
from pathlib import Path

import pytest

from tests.helpers import ENV_IDS, REWARD_MODELS

pytestmark = pytest.mark.slow

CLIENTS = Path(__file__).parents[2] / "shared/clients"
SCRIPTS = sorted(path.name for path in CLIENTS.glob("[!_]*.py"))


@pytest.mark.skipif(not CLIENTS.exists(), reason="no ../shared/clients")
@pytest.mark.parametrize(
    ("script", "env_id", "reward_model"), list(zip(SCRIPTS, cycle(ENV_IDS), cycle(REWARD_MODELS), strict=False))
)
def test_a_client_trains_without_a_warning(script: str, env_id: str, reward_model: str) -> None:
    """Each client once; tasks and reward models take turns."""
    command = [sys.executable, "-W", "error", str(CLIENTS / script), "--env-id", env_id, "--steps", "256"]
    if "gymnasium" not in script:
        command += ["--env-kwargs", json.dumps({"reward_model": reward_model})]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "warn" not in (done.stdout + done.stderr).lower()
    assert done.stdout.splitlines()[-1].startswith(("CLIENT-OK", "OK"))
