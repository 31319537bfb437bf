"""The program that asks a function of Python for verdicts, in lines of JSON: see `code.py`."""

import json
import os
import sys
from functools import cache
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np


def serve(spec: str) -> None:
    """Answer requests with a function's verdicts. What it prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        answer = {"id": request["id"]} | _answer(spec, request["formulae"])
        print(json.dumps(answer), file=answers, flush=True)


def _answer(spec: str, formulae: list[str]) -> dict[str, Any]:
    """The verdicts as a list; or as error, in words, what went wrong."""
    try:
        verdicts = np.asarray(_function(spec)(formulae))
    except Exception as error:  # of whatever the function does
        return {"error": f"raised {type(error).__name__}: {' '.join(str(error).split())[:200]}"}
    if verdicts.dtype != np.bool_ or verdicts.shape != (len(formulae),):
        return {"error": f"must return {len(formulae)} booleans, got {verdicts.dtype} of shape {verdicts.shape}"}
    return {"verdicts": verdicts.tolist()}


@cache
def _function(spec: str) -> Any:
    place, _, name = spec.rpartition(":")
    if not place.endswith(".py"):
        sys.path.insert(0, "")
        return getattr(import_module(place), name)
    path = Path(place)
    found = spec_from_file_location(path.stem, path)
    assert found is not None
    assert found.loader is not None
    module = module_from_spec(found)
    found.loader.exec_module(module)
    return getattr(module, name)


if __name__ == "__main__":
    serve(sys.argv[1])
