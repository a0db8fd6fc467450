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
from results.labels import DEFENSE_LABELS
from results.plots import accuracy_figure
from results.rows import Row
from results.tables import markdown_table

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
# Each number becomes a row: what was measured, on what, how many of how many. Figures and tables
# are drawn from rows alone.

# %%
rows = []
for model in (*sets, ThreatModel.ADAPTIVE):
    for name in (None, *purifiers):
        if model is ThreatModel.ADAPTIVE:
            curve = known[name] if name else sets[ThreatModel.OBLIVIOUS]
        else:
            curve = sets[model]
        attacked = np.concatenate(list(curve.values()))
        seen = purifiers[name].purify(attacked) if name else attacked
        answers = target.predict(seen, verbose=0).argmax(axis=1).reshape(len(curve), -1)
        for epsilon, answer in zip(curve, answers, strict=True):
            correct = int((answer == labels).sum())
            rows.append(
                Row(
                    experiment="notebook.02",
                    dataset="digits",
                    defense=name or "none",
                    classifier="A",
                    attack="pgd",
                    norm="linf",
                    epsilon=epsilon,
                    threat_model=model.value,
                    metric="accuracy",
                    value=correct / len(labels),
                    correct=correct,
                    total=len(labels),
                    seed=0,
                    flags="target=A",
                    config_hash="notebook",
                    seconds=0.0,
                )
            )
print(len(rows), "rows")

# %% [markdown]
# ## Look
#
# The same defenses, once before an attacker who ignores them and once before one who does not.

# %%
accuracy_figure(
    [row for row in rows if row.threat_model == "oblivious"],
    title="PGD on digits: the attacker does not know the purifier",
    caption=f"{num_images} test images, 10 steps.",
)

# %%
accuracy_figure(
    [row for row in rows if row.threat_model == "adaptive"],
    title="PGD on digits: the attacker goes through the purifier",
    caption=f"{num_images} test images, 10 steps; one random draw in each gradient.",
)

# %% [markdown]
# ## Side by side at epsilon 0.15

# %%
columns = [model.value for model in (*sets, ThreatModel.ADAPTIVE)]
at = {(r.defense, r.threat_model): r.value for r in rows if r.epsilon == 0.15}
clean = {r.defense: r.value for r in rows if r.epsilon == 0 and r.threat_model == "oblivious"}
lines = [
    (DEFENSE_LABELS[name], f"{clean[name]:.0%}", *(f"{at[name, c]:.0%}" for c in columns))
    for name in ("none", *purifiers)
]
display(Markdown(markdown_table(("target A behind", "clean", *columns), lines)))
fallen = {name: at[name, "oblivious"] - at[name, "adaptive"] for name in purifiers}
print("lost to an attacker who knows:", {name: f"{lost:.0%}" for name, lost in fallen.items()})
print("mean over the four:", f"{np.mean(list(fallen.values())):.0%}")

# %% [markdown]
# The columns before the last say how much of a perturbation made for something else a purifier
# removes. Only the last one is about robustness, and it is an upper bound: ten steps, one attack.
# `docs/papers.md` maps every paper's wording to one of these names.
