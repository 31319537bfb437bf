import hypothesis
import pytest
import torch

# No deadlines: they fail on a busy machine, and speed is what benchmarks measure.
hypothesis.settings.register_profile("usual", deadline=None)
hypothesis.settings.register_profile("quick", max_examples=10, deadline=None)
hypothesis.settings.load_profile("usual")

# Several test processes share the cores; what they start has torch's default number of threads.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _a_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in this process draw none, which takes longer than a tiny run itself."""
    monkeypatch.setattr("formula_env.experiment.run_figures.draw_figures", lambda *_: None)
