import hypothesis
import pytest
import torch

hypothesis.settings.register_profile("quick", max_examples=10)


@pytest.fixture(autouse=True)
def _a_seed() -> None:
    torch.manual_seed(0)
