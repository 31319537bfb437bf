"""Findings of a study from its rows, as README or on the terminal: claims, comparisons and ablations."""

from collections.abc import Sequence
from itertools import zip_longest
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from formula_env.errors import FormulaError
from formula_env.experiment.rows import Row
from formula_env.experiment.run_folder import RunFolder
from formula_env.metrics import METRICS, is_in_summary, metric, row_key
from formula_env.studies.records import check_complete, read_analysis
from formula_env.studies.spec import (
    STUDY_FILE,
    Ablation,
    Claim,
    Study,
    Variant,
)
from formula_env.studies.statistics import Answer, Outcome, ablate, compare, interval, iqm, last_rows

COLUMNS = ("accuracy", "jsd", "coverage", "uniqueness", "mse", "marginal_distance", "integer_distance")
"""Metrics of the table of variants, where a variant has them."""

HOW_COSTS_COUNT = (
    "What a run costs, means over the seeds. Seconds are those of the machine that recorded a line, beside "
    "whatever else it did; only lines that were recorded together compare."
)

COSTS = {
    "seconds": "seconds",
    "cpu_seconds": "CPU seconds",
    "peak_memory": "memory (MB)",
    "env_steps": "symbols written",
    row_key("verified/checker_calls"): "checker calls",
}
"""What a run costs: keys of its last row, and their columns."""

README_FILE = "README.md"


def values(study: Study, claim: Claim, name: str) -> list[float]:
    """A metric of a claim's variant, by seed: from the summary, the last row, or the row of an analysis."""
    variant = study.variants[claim.variant]
    return [_value(study, folder, variant, name, claim.row) for folder in study.folders(variant)]


def _value(study: Study, folder: RunFolder, variant: Variant, name: str, wanted: Row) -> float:
    if variant.analysis is not None:
        rows = [
            row
            for row in read_analysis(folder.path, variant.analysis) or []
            if wanted.items() <= row.items() and name in row
        ]
        if len(rows) != 1:
            raise FormulaError(
                f"{study.folder / STUDY_FILE}: {len(rows)} rows of {variant.name} have {name} where {wanted}; "
                "a claim needs one"
            )
        return _as_number(rows[0][name], name, study)
    source = (folder.summary() or {}) if is_in_summary(name) else folder.rows()[-1]
    if name in source:
        return _as_number(source[name], name, study)
    raise FormulaError(f"{study.folder / STUDY_FILE}: {variant.name} has no metric {name!r}")


def _as_number(value: Any, name: str, study: Study) -> float:
    if not isinstance(value, int | float):
        raise FormulaError(f"{study.folder / STUDY_FILE}: {name} is {value!r}, not a number")
    return float(value)


def stands(study: Study, claim: Claim) -> bool:
    """Whether each seed's first number is where the verdict needs it."""
    if not claim.range:
        return True
    low, high = claim.range
    return all(low <= value <= high for value in values(study, claim, claim.metrics[0]))


def shaken(study: Study) -> list[Claim]:
    """Claims whose verdict the rows no longer support."""
    return [claim for claim in study.claims if not stands(study, claim)]


# --- text -----------------------------------------------------------------------------------------------------


def spread(numbers: Sequence[float], name: str) -> str:
    """Mean, and least to most over the seeds."""
    mean, low, high = (metric(name).text(value) for value in (fmean(numbers), min(numbers), max(numbers)))
    return mean if len(numbers) == 1 or low == high else f"{mean} ({low} – {high})"


def our_numbers(study: Study, claim: Claim) -> str:
    """The numbers that a claim is about, as one phrase."""
    parts = []
    summary = study.folders(study.variants[claim.variant])[0].summary() or {}
    for name in claim.metrics:
        text = spread(values(study, claim, name), name) + _floor(summary, name)
        is_plain = claim.metrics == ["exact"]
        parts.append(text if is_plain else f"{metric(name).heading} {text}")
    return "; ".join(parts)


def verdict(study: Study, claim: Claim) -> str:
    return claim.verdict if stands(study, claim) else f"no longer what these rows show (was: {claim.verdict})"


def study_readme(study: Study) -> str:
    """The README of a study, made from `study.toml` and the rows."""
    lines = [
        f"# {study.title}",
        "",
        f"*{study.thesis}. This page is made from `{STUDY_FILE}` and the recorded rows by "
        f"`formula-env figures runs/studies/{study.name}`; `formula-env study runs/studies/{study.name} "
        f"--out runs/again` runs it anew.*",
        "",
        study.about,
        "",
    ]
    if study.claims:
        lines += [
            "| the thesis says | here | verdict | why |",
            "|---|---|---|---|",
            *(
                f"| {claim.thesis} | {our_numbers(study, claim)} | **{verdict(study, claim)}** | {claim.reason} |"
                for claim in study.claims
            ),
            "",
        ]
    if study.comparisons:
        lines += [HOW_COMPARED, "", *markdown(("question", *COLUMNS_COMPARED), _compared(study)), ""]
    if study.ablations:
        lines += [HOW_ABLATED, ""]
    for ablation in study.ablations:
        lines += [*markdown(_ablation_header(ablation), _ablated(study, ablation)), ""]
    table = variant_table(study)
    if table:
        lines += ["At the end of each run; mean over the seeds, and least – most:", "", *table, ""]
    if costs := cost_table(study):
        lines += [HOW_COSTS_COUNT, "", *costs, ""]
    for spec in study.figures:
        lines += [f"![{spec.title or spec.name}](figures/{spec.name}.png)", ""]
    return "\n".join(lines)


def variant_table(study: Study) -> list[str]:
    """The runs' final metrics as a Markdown table, a line for each variant; empty where there are no runs."""
    variants = [variant for variant in study.variants.values() if variant.analysis is None]
    if not variants:
        return []
    summaries = {
        variant.name: [folder.summary() or {} for folder in study.folders(variant)] for variant in variants
    }
    columns = [c for c in COLUMNS if any(c in summary for each in summaries.values() for summary in each)]
    lines = [
        f"| | seeds | rounds | {' | '.join(METRICS[c].heading for c in columns)} |",
        "|---|---|---|" + "---|" * len(columns),
    ]
    for variant in variants:
        each = summaries[variant.name]
        entries = [spread([s[c] for s in each], c) + _floor(each[0], c) if c in each[0] else "" for c in columns]
        lines.append(f"| {variant.label} | {len(each)} | {each[0]['rounds']:,} | {' | '.join(entries)} |")
    return lines


def cost_table(study: Study) -> list[str]:
    """Cost of each variant's runs, means over the seeds, as a Markdown table; empty where nothing was tuned."""
    variants = [variant for variant in study.variants.values() if variant.analysis is None]
    if not any(variant.trials for variant in variants):
        return []
    rows = {variant.name: last_rows(study, variant, variant.seeds) for variant in variants}
    known = [key for key in COSTS if any(mean_cost(each, key) for each in rows.values())]
    lines = []
    for variant in variants:
        costs = [mean_cost(rows[variant.name], key) for key in known]
        trials = "none" if variant.trials is None else f"{variant.trials}"
        lines.append([variant.label, trials, *(f"{cost:,.0f}" if cost else "" for cost in costs)])
    return markdown(["", "trials of its tuning", *(COSTS[key] for key in known)], lines)


def mean_cost(rows: Sequence[Row], key: str) -> float:
    """Mean of a cost over rows, 0 where not each has it: earlier versions did not record all."""
    return fmean(row[key] for row in rows) if all(key in row for row in rows) else 0.0


def _floor(summary: Row, metric: str) -> str:
    """Note on the floor of a sampled JSD, what a perfect generator would score; "" for other metrics."""
    is_sampled = metric == "jsd" and not summary.get("jsd_exact", True)
    return sampled(summary["jsd_floor"]) if is_sampled else ""


def sampled(floor: float) -> str:
    return f" sampled, floor {METRICS['jsd_floor'].text(floor)}"


def studies_table(studies: Sequence[Study]) -> str:
    """All claims of several studies as one Markdown table: the one in docs/results.md."""
    lines = ["| study | the thesis says | here | verdict |", "|---|---|---|---|"]
    for study in studies:
        link = f"[{study.name}](runs/studies/{study.name}/README.md)"
        for claim in study.claims:
            lines.append(
                f"| {link} | {claim.thesis} | {our_numbers(study, claim)} | **{verdict(study, claim)}** |"
            )
            link = ""
    return "\n".join(lines)


# --- comparisons ----------------------------------------------------------------------------------------------

HOW_COMPARED = (
    "Ours is the last generator of each run: nothing is picked. Where a question ends with 'the last generators', "
    "the baseline's is the last, too. Where it ends with 'picked by', the baseline is picked with the checker, in "
    "its favour: for each seed, of all evaluations of all its runs, the one with the lowest exact JSD (NLL, where "
    "the JSD is not exact); all its numbers are of that one. Means, with their 95% bootstrap intervals over the "
    "seeds, and interquartile means (IQM). The difference, ours minus the baseline, is paired by seed. 'Better' "
    "and 'worse': the 95% interval of the mean difference excludes 0."
)

COLUMNS_COMPARED = ("metric", "ours, the last", "baseline", "difference", "better on", "verdict", "goal")


def _entries(outcome: Outcome, marked: bool = False, robust: bool = True) -> dict[str, str]:
    """Entries by `COLUMNS_COMPARED`: verdicts in bold where `marked`, interquartile means where `robust`."""
    name, seeds = outcome.metric, len(outcome.ours)
    entries = (
        METRICS[name].heading + (sampled(outcome.floor) if outcome.floor is not None else ""),
        _with_interval(outcome.ours, name, robust),
        _with_interval(outcome.baseline, name, robust),
        _change(outcome),
        f"{outcome.wins} of {seeds}",
        f"**{outcome.verdict}**" if marked else outcome.verdict,
        _goal(outcome),
    )
    return dict(zip(COLUMNS_COMPARED, entries, strict=True))


def _with_interval(numbers: Sequence[float], name: str, robust: bool) -> str:
    middle, low, high, quartiles = (
        METRICS[name].text(value) for value in (fmean(numbers), *interval(numbers), iqm(numbers))
    )
    if low == high:
        return middle
    return f"{middle} [{low}, {high}]" + (f", IQM {quartiles}" if robust else "")


def _change(outcome: Outcome) -> str:
    ends = interval(outcome.differences)
    return METRICS[outcome.metric].format.change(fmean(outcome.differences), *ends)


def _goal(outcome: Outcome) -> str:
    if outcome.goal is None:
        return ""
    metric = METRICS[outcome.metric]
    sign = "≥" if metric.better == "higher" else "≤"
    verdict = "reached" if outcome.reaches(fmean(outcome.ours)) else "missed"
    goal = f"{sign} {metric.text(outcome.goal)}"
    return f"{goal}: {verdict}; {outcome.seeds_at_goal} of {len(outcome.ours)} seeds"


def _question(study: Study, answer: Answer) -> str:
    """The question of a comparison: what is compared with which baseline, and which of its rows count."""
    asked = answer.comparison
    baselines = " or ".join(study.variants[name].label for name in asked.baselines)
    picked_by = f"{'exact ' if answer.picked_by == 'jsd' else ''}{METRICS[answer.picked_by].label}"
    if asked.picked:
        rows = f"picked by {picked_by}"
    else:
        of_several = f", of each seed's baselines the best by {picked_by}" if len(asked.baselines) > 1 else ""
        rows = f"the last generators{of_several}"
    return f"{asked.question}: {study.variants[asked.variant].label} against {baselines}, {rows}"


def _compared(study: Study) -> list[list[str]]:
    """A line for each metric of each comparison: question (once), and `COLUMNS_COMPARED`."""
    lines = []
    for comparison in study.comparisons:
        answer = compare(study, comparison)
        question = _question(study, answer)
        for outcome in answer.outcomes:
            lines.append([question, *_entries(outcome, marked=True).values()])
            question = ""
    return lines


def comparisons_table(studies: Sequence[Study]) -> str:
    """All comparisons of several studies as one short Markdown table, for docs/results.md; empty without any.

    Who is compared with whom, and interquartile means, are on the studies' pages.
    """
    lines = []
    for study in studies:
        for comparison in study.comparisons:
            question = f"[{comparison.question}](runs/studies/{study.name}/README.md)"
            for outcome in compare(study, comparison).outcomes:
                lines.append([question, *_entries(outcome, marked=True, robust=False).values()])
                question = ""
    return "\n".join(markdown(("question", *COLUMNS_COMPARED), lines)) if lines else ""


# --- ablations ------------------------------------------------------------------------------------------------

HOW_ABLATED = (
    "The worth of each part: each line has one setting changed, and all others are those of the first line. The "
    "last generators are compared. Means, and the difference to the first line, paired by seed, with its 95% "
    "bootstrap interval. 'Better' and 'worse': the interval excludes 0."
)


def _ablation_header(ablation: Ablation) -> list[str]:
    return [ablation.question, *(METRICS[name].heading for name in ablation.metrics)]


def _ablated(study: Study, ablation: Ablation) -> list[list[str]]:
    """A line for the whole, and one for each change: its label, and an entry for each metric."""
    ablated = ablate(study, ablation)
    whole = [METRICS[outcome.metric].text(fmean(outcome.baseline)) for outcome in next(iter(ablated.values()))]
    lines = [[study.variants[ablation.variant].label, *whole]]
    for name, outcomes in ablated.items():
        entries = [
            f"{METRICS[o.metric].text(fmean(o.ours))}; {_change(o)}"
            + ("" if o.verdict == "no difference shown" else f": {o.verdict}")
            for o in outcomes
        ]
        lines.append([study.variants[name].label, *entries])
    return lines


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    return [
        f"| {' | '.join(header)} |",
        "|---" * len(header) + "|",
        *(f"| {' | '.join(each)} |" for each in lines),
    ]


# --- terminal -------------------------------------------------------------------------------------------------


def print_study(study: Study, console: Console) -> None:
    """Claims, comparisons and sample sequences, wrong ones in red."""
    check_complete(study)
    if study.claims:
        _print_claims(study, console)
    for comparison in study.comparisons:
        _print_answer(study, compare(study, comparison), console)
    if study.comparisons:
        console.print(HOW_COMPARED, highlight=False)
    for ablation in study.ablations:
        _print_ablation(study, ablation, console)
    for spec in study.figures:
        if spec.kind == "sequences":
            _print_sequences(study, study.variants_of(spec), console)


def _print_claims(study: Study, console: Console) -> None:
    table = Table("the thesis says", "here", "verdict", title=f"{study.name}: {study.title}", title_justify="left")
    colours = {"reproduced": "green", "refuted": "red", "does not follow": "red"}
    for claim in study.claims:
        colour = colours.get(verdict(study, claim), "yellow")
        table.add_row(claim.thesis, our_numbers(study, claim), Text(verdict(study, claim), style=colour))
    console.print(table)


def _print_answer(study: Study, answer: Answer, console: Console) -> None:
    table = Table(*COLUMNS_COMPARED, title=Text(f"{study.name}: {_question(study, answer)}"), title_justify="left")
    colours = {"better": "green", "worse": "red"}
    for outcome in answer.outcomes:
        entries = {name: Text(entry) for name, entry in _entries(outcome).items()}  # brackets are no markup
        entries["verdict"].stylize(colours.get(outcome.verdict, "yellow"))
        table.add_row(*entries.values())
    console.print(table)


def _print_ablation(study: Study, ablation: Ablation, console: Console) -> None:
    table = Table(
        *_ablation_header(ablation), title=Text(f"{study.name}: one thing changed"), title_justify="left"
    )
    for line in _ablated(study, ablation):
        table.add_row(*(Text(entry) for entry in line))
    console.print(table)


def _print_sequences(study: Study, variants: Sequence[Variant], console: Console) -> None:
    table = Table(
        *(f"{variant.label}, seed {variant.seeds[0]}" for variant in variants),
        title="samples",
        title_justify="left",
    )
    columns = [study.run_folder(variant, variant.seeds[0]).samples()[:15] for variant in variants]
    for line in zip_longest(*columns, fillvalue=("", "")):
        table.add_row(*(Text(text, style="bold red" if verdict == "wrong" else "") for text, verdict in line))
    console.print(table)
