import hypothesis
import pytest
import torch

hypothesis.settings.register_profile("quick", max_examples=10)

# Several test processes share the cores; what they start has torch's default number of threads.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _a_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in this process draw none, which takes longer than a tiny run itself."""
    monkeypatch.setattr("formula_env.experiment.run_figures.draw_figures", lambda *_: None)
