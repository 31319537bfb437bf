"""Algorithms beside each other, by task and by what they learn from: examples, the checker, or both."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from formula_env.experiment.rows import Row
from formula_env.experiment.run_report import task_name
from formula_env.metrics import METRICS, metric, row_key
from formula_env.studies.spec import SOURCES, Study, Variant
from formula_env.studies.statistics import last_rows
from formula_env.studies.study_report import COSTS, markdown, mean_cost, sampled, spread

QUALITY = ("accuracy", "jsd", "nll", "coverage", "novelty")
"""Metrics of quality; the NLL where a likelihood is known but no exact JSD, novelty where there are examples."""


@dataclass(frozen=True)
class Entry:
    """A variant that names its source, with the last rows of its runs."""

    study: Study
    variant: Variant
    rows: list[Row]

    @property
    def task(self) -> str:
        config = self.variant.config(self.variant.seeds[0])
        return task_name(config.task_name, config.task.options)

    @property
    def source(self) -> str:
        """`1,000 examples`, `the checker` or both."""
        examples = f"{self.variant.num_examples:,} examples"
        names = {"examples": examples, "both": f"{examples}, the checker", "checker": "the checker"}
        return names[str(self.variant.source)]

    @property
    def order(self) -> tuple[int, int, int, float]:
        """Examples alone first, fewer before more, and the nearest to the truth first among equals.

        Accuracy does not decide where there is a distance: who writes one formula has 100%.
        """
        num_examples = 0 if self.variant.source == "checker" else self.variant.num_examples
        kind = next((i for i, name in enumerate(("jsd", "nll")) if self.has(name)), 2)
        distance = -self.mean("accuracy") if kind == 2 else self.mean(("jsd", "nll")[kind])
        return SOURCES.index(self.variant.source), num_examples, kind, distance

    def mean(self, name: str) -> float:
        return fmean(row[row_key(name)] for row in self.rows)

    def has(self, name: str) -> bool:
        if name == "novelty" and (
            self.variant.source == "checker" or not any(row.get(row_key(name)) for row in self.rows)
        ):
            return False  # it knows no examples, or all there are
        if name == "coverage" and not all(_is_large(row) for row in self.rows):
            return False
        if name in ("jsd", "nll"):
            by_likelihood = not self.is_exact and all(row_key("nll") in row for row in self.rows)
            if by_likelihood == (name == "jsd"):
                return False
        return all(row_key(name) in row for row in self.rows)

    @property
    def is_exact(self) -> bool:
        """Whether its JSD comes from probabilities."""
        return all(row.get(row_key("jsd_exact")) for row in self.rows)

    def quality(self, name: str) -> str:
        if not self.has(name):
            return ""
        text = spread([row[row_key(name)] for row in self.rows], name)
        if name == "jsd" and not self.is_exact:
            return text + sampled(self.rows[0][row_key("jsd_floor")])
        return text

    def cost(self, key: str) -> float:
        return mean_cost(self.rows, key)


def _is_large(row: Row) -> bool:
    """Whether a sample can reach a share of the formulae that means something."""
    return SMALLEST_SAMPLE * row.get(row_key("num_formulae"), 0) <= row.get(row_key("num_samples"), 0)


SMALLEST_SAMPLE = 0.1
"""Formulae of a sample for each formula that there is, below which its coverage is not shown."""


def sources_table(studies: Sequence[Study]) -> str:
    """The variants that name a `source`, as Markdown: a table for each task; empty where none does."""
    entries = [
        Entry(study, variant, last_rows(study, variant, variant.seeds))
        for study in studies
        for variant in study.variants.values()
        if variant.source is not None and variant.records is None
    ]
    tasks = dict.fromkeys(entry.task for entry in entries)
    return "\n\n".join(_of_task(task, [entry for entry in entries if entry.task == task]) for task in tasks)


def _random_line(entry: Entry, known: Sequence[str]) -> list[str]:
    """Metrics of symbols drawn uniformly, from the summary of an entry's first run."""
    summary = entry.study.folders(entry.variant)[0].summary() or {}
    random = summary["random"]
    jsd_counts = random.get("jsd_exact", False)
    shown = {name: random[name] for name in known if name in random and (name != "jsd" or jsd_counts)}
    values = (metric(name).text(shown[name]) if name in shown else "" for name in known)
    return ["nothing", "random symbols", "", "", *values]


def _of_task(task: str, entries: Sequence[Entry]) -> str:
    known = [name for name in QUALITY if any(entry.has(name) for entry in entries)]
    costs = [key for key in COSTS if any(entry.cost(key) for entry in entries)]
    columns = [*(METRICS[name].heading for name in known), *(COSTS[key] for key in costs)]
    lines = [
        [
            entry.source,
            f"[{entry.variant.label}](runs/studies/{entry.study.name}/README.md)",
            f"{len(entry.rows)}",
            "" if entry.variant.trials is None else f"{entry.variant.trials}",
            *(entry.quality(name) for name in known),
            *(f"{entry.cost(key):,.0f}" if entry.cost(key) else "" for key in costs),
        ]
        for entry in sorted(entries, key=lambda entry: entry.order)
    ]
    lines.append(_random_line(entries[0], known) + [""] * len(costs))
    header = ["learns from", "algorithm", "seeds", "trials of its tuning", *columns]
    return "\n".join([f"### {task}", "", *markdown(header, lines)])
