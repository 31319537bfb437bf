"""Sharing a trained generator on the Hugging Face Hub (extra `hub`)."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from formula_env.errors import FormulaError
from formula_env.trained import CARD_FILE, SETTINGS_FILE, WEIGHTS_FILE

FILES = [WEIGHTS_FILE, SETTINGS_FILE, CARD_FILE]


def upload(folder: Path | str, repo_id: str, private: bool = True) -> str:
    """Upload an exported generator to the repository USER/NAME; returns its address.

    One that is made for it is private unless told otherwise; one that is there stays as it is, private or public.

    Raises FormulaError if the folder holds none, or the Hub refuses.
    """
    if missing := [name for name in FILES if not (Path(folder) / name).is_file()]:
        raise FormulaError(f"{folder} holds no {missing[0]}; make it by formula-env export RUN {folder}")
    with _complaints(repo_id) as hub:
        hub.create_repo(repo_id, private=private, exist_ok=True)
        hub.upload_folder(repo_id=repo_id, folder_path=str(folder), allow_patterns=FILES)
    return f"https://huggingface.co/{repo_id}"


def check_installed() -> None:
    """Raise FormulaError if the package `huggingface_hub` is missing."""
    with _complaints(""):
        pass


def download(repo_id: str, revision: str | None = None) -> Path:
    """The folder of a generator from the repository USER/NAME, for `formula_env.load`; nothing else is downloaded.

    Raises FormulaError if the Hub refuses.
    """
    with _complaints(repo_id) as hub:
        return Path(hub.snapshot_download(repo_id, revision=revision, allow_patterns=FILES))


@contextmanager
def _complaints(repo_id: str) -> Iterator[Any]:
    """The package `huggingface_hub`; what it complains about becomes one line."""
    try:
        hub: Any = import_module("huggingface_hub")
    except ImportError:
        raise FormulaError("huggingface_hub is missing; install it by pip install 'formula-env[hub]'") from None
    try:
        yield hub
    except Exception as error:  # its own, and those of the network, which are of several libraries
        why = " ".join(str(error).split())[:300]
        raise FormulaError(f"Hugging Face Hub, {repo_id}: {why}") from None
