# %% [markdown]
# # The rows of a study
#
# Each recorded run is a folder of plain text: settings, a row of metrics for each evaluation, samples, a
# summary. So a figure of your own takes a few lines. The studies come with the repository: open the notebook in a
# folder of it.

# %%
import json
from pathlib import Path
from statistics import fmean
from tempfile import mkdtemp

from matplotlib.figure import Figure

repository = next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "runs" / "studies").is_dir())
study = repository / "runs" / "studies" / "beats-mle"
variants = {"mle-tuned-8": "likelihood", "nce-tuned-8": "noise-contrastive", "seqgan-tuned-8": "SeqGAN"}

# %% [markdown]
# The end of the runs: means over the seeds of the exact JSD in nats, 0 for a perfect generator.

# %%
for variant, label in variants.items():
    summaries = [json.loads(path.read_text()) for path in sorted((study / variant).glob("seed-*/summary.json"))]
    jsd, accuracy = (fmean(summary[name] for summary in summaries) for name in ("jsd", "accuracy"))
    print(f"{label:<18} {len(summaries)} seeds, JSD {jsd:.4f}, accuracy {accuracy:.2%}")

# %% [markdown]
# The way there, one curve a seed:

# %%
figure = Figure(figsize=(9, 3), layout="constrained")
axes = figure.subplots(1, len(variants), sharey=True)
for axis, (variant, label) in zip(axes, variants.items(), strict=True):
    for path in sorted((study / variant).glob("seed-*/metrics.jsonl")):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        rounds, jsds = ([row[name] for row in rows] for name in ("round", "eval/jsd"))
        axis.plot(rounds, jsds, color="#0072b2", alpha=0.5, lw=1)
    axis.set(title=label, xlabel="round", yscale="log")
axes[0].set_ylabel("exact JSD (nats, log scale)")
drawn = Path(mkdtemp()) / "jsd.png"
figure.savefig(drawn, dpi=120)
print(drawn)
