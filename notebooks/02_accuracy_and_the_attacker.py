# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Accuracy against epsilon, and what the attacker knows
#
# The papers' main figures show accuracy against the size of the perturbation. What they mean
# depends on one thing that is easily overlooked: what the attacker knows. This notebook attacks the
# same images four times with the same attack and the same budgets, and each time the attacker knows
# something else. It uses trained models from `results/zoo/digits` and takes a few minutes.

# %%
import logging
import os
import sys
from pathlib import Path

# The packages live in the repository's root, wherever in it this notebook is run.
sys.path.insert(
    0, str(next(p for p in Path.cwd().joinpath("x").parents if (p / "run_all.py").is_file()))
)
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

# %matplotlib inline
import numpy as np
from IPython.display import Markdown, display

from attacks.registry import get_attack
from attacks.threat_models import ThreatModel, attack_mixed
from defenses.defended_classifier import DefendedClassifier
from experiments import datasets, presets, zoo
from papers.lines import EPSILONS, LOOKS, NAMES
from results.exhibit import Curves, Exhibit, Line
from results.figures import draw
from results.markdown import sheet_table
from results.row import Row
from results.sheet import fill

# TensorFlow warns of every model's first call; with several models that says nothing.
logging.getLogger("tensorflow").setLevel(logging.ERROR)

# %% [markdown]
# ## Images, target, purifiers
#
# Fifty test images. Target A is what is attacked and what reads the purified images; target B
# and a small DenseNet were trained apart from it and serve as substitutes. Defense-GAN is left out
# here: it searches for each image, and so has no gradient of its own.

# %% tags=["parameters"]
num_images = 50

# %%
plan = presets.profile("demo").plans["digits"]
data = datasets.load(plan.dataset)
images, labels = data.test.images[:num_images], data.test.labels[:num_images]
target = zoo.load("digits", "target_A")
substitutes = [zoo.load("digits", name) for name in ("target_B", "target_substitute_0")]
names = ("sfl_vae", "defense_vae", "defense_cyclegan", "vqunet")
purifiers = {name: zoo.load("digits", name) for name in names}
epsilons = [0.0, 0.05, 0.1, 0.15, 0.2]
attack = get_attack("pgd", num_steps=10)

# %% [markdown]
# ## Three attackers who ignore the defense
#
# * `oblivious`: has target A with all weights, and does not know that a purifier stands before it.
#   Most of the papers' figures are this.
# * `transfer`: has only target B.
# * `mixed`: half of the images are made on target A, half are transferred from the substitutes, as
#   in chapter 5 of the dissertation.
#
# None of the three sets depends on the defense, so each is made once and serves all of them.

# %%
sets = {
    ThreatModel.OBLIVIOUS: attack.curve(target, images, labels, epsilons),
    ThreatModel.TRANSFER: attack.curve(substitutes[0], images, labels, epsilons),
    ThreatModel.MIXED: attack_mixed(attack, target, substitutes, images, labels, epsilons)[0],
}
print({model.value: len(curve) for model, curve in sets.items()})

# %% [markdown]
# ## One attacker who knows it
#
# `adaptive`: purifier and target are one differentiable model, and that model is attacked. Each
# defense has its own set. SFL-VAE draws a latent vector in each call, so each gradient here is one
# random draw; an attack that averages over several would be stronger still.

# %%
known = {
    name: attack.curve(DefendedClassifier(purifier, [target]), images, labels, epsilons)
    for name, purifier in purifiers.items()
}

# %% [markdown]
# ## Count
#
# Each number becomes a row: what was measured, on what, how many of how many. Clean images are the
# same for every attacker and are counted once. Figures and tables are drawn from rows alone.

# %%
everybody = [*sets, ThreatModel.ADAPTIVE]
rows = []
for name in ("none", *purifiers):
    curves = {**sets, ThreatModel.ADAPTIVE: known.get(name, sets[ThreatModel.OBLIVIOUS])}
    asked = [("none", 0.0, images)]
    asked += [(model.value, e, curves[model][e]) for model in everybody for e in epsilons if e > 0]
    for threat_model, epsilon, batch in asked:
        seen = purifiers[name].purify(batch) if name in purifiers else batch
        correct = int((target.predict(seen, verbose=0).argmax(axis=1) == labels).sum())
        rows.append(
            Row(
                dataset="digits",
                defense=name,
                decider="target",
                attack="pgd" if epsilon else "none",
                norm="linf" if epsilon else "",
                epsilon=epsilon,
                threat_model=threat_model,
                metric="accuracy",
                value=correct / len(labels),
                correct=correct,
                total=len(labels),
                settings={"target": "A"},
            )
        )
print(len(rows), "rows")

# %% [markdown]
# ## Look
#
# A figure is a query: which rows, in which lines and columns. The same defenses, once before an
# attacker who ignores them and once before one who does not.

# %%
lines = [Line(NAMES[name], {"defense": name}, LOOKS[name]) for name in ("none", *purifiers)]
ignored = Exhibit(
    id="02",
    title="PGD, the attacker does not know the purifier",
    where={"threat_model": ("none", "oblivious")},
    lines=lines,
    columns=(EPSILONS,),
    draw=Curves(),
)
draw(fill(ignored, "digits", rows), profile="notebook")

# %%
attacked_through = Exhibit(
    id="02",
    title="PGD, the attacker goes through the purifier",
    where={"threat_model": ("none", "adaptive")},
    lines=lines,
    columns=(EPSILONS,),
    draw=Curves(),
    caveat="One random draw in each gradient.",
)
draw(fill(attacked_through, "digits", rows), profile="notebook")

# %% [markdown]
# ## Side by side at epsilon 0.15

# %%
side_by_side = Exhibit(
    id="02",
    title="what the attacker knows",
    where={"epsilon": (0.0, 0.15)},
    corner="accuracy (%) of target A behind",
    lines=lines,
    columns=[Line("clean", {"attack": "none"})]
    + [Line(model.value, {"threat_model": model.value}) for model in everybody],
)
display(Markdown(sheet_table(fill(side_by_side, "digits", rows))))
at = {(row.defense, row.threat_model): row.value for row in rows if row.epsilon == 0.15}
fallen = {name: at[name, "oblivious"] - at[name, "adaptive"] for name in purifiers}
print("lost to an attacker who knows:", {name: f"{lost:.0%}" for name, lost in fallen.items()})
print("mean over the four:", f"{np.mean(list(fallen.values())):.0%}")

# %% [markdown]
# The columns before the last say how much of a perturbation made for something else a purifier
# removes. Only the last one is about robustness, and it is an upper bound: ten steps, one attack.
# `docs/papers/README.md` maps every paper's wording to one of these names.
