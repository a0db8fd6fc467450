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
# # Inside PuVAE
#
# PuVAE purifies an image by reconstructing it as every class and keeping the nearest of the ten
# reconstructions. This notebook looks at the candidates and their distances, at the latent space,
# at what the weights of its loss do, and at an attacker who knows all of it. It uses trained models
# from `results/zoo/digits`.

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
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown, display
from keras import ops

from attacks.registry import get_attack
from defenses.defended_classifier import DefendedClassifier
from experiments import datasets, presets, zoo
from results.exhibit import PALETTE
from results.markdown import markdown_table

logging.getLogger("tensorflow").setLevel(logging.ERROR)

# %% [markdown]
# ## Images, target, purifier
#
# The target is classifier B of the paper. PuVAE was trained with classifier A as its source: the
# source sees to it that a reconstruction looks like its class, and is never attacked.

# %%
plan = presets.profile("demo").plans["digits"]
data = datasets.load(plan.dataset)
images, labels = data.test.images[:100], data.test.labels[:100]
target, puvae = zoo.load("digits", "target_puvae_b"), zoo.load("digits", "puvae")
epsilon = 0.3  # the budget of the paper on grey images
goals = (labels + np.random.default_rng(0).integers(1, 10, len(labels))) % 10
attacked = get_attack("fgsm")(target, images, labels, epsilon, target_labels=goals)
says = {
    n: target.predict(x, verbose=0).argmax(1)
    for n, x in (("clean", images), ("attacked", attacked))
}
print({name: float(np.mean(answer == labels)) for name, answer in says.items()})

# %% [markdown]
# ## Ten candidates
#
# One pass makes all of them: `project` returns the candidates, their distances to the image and the
# class of the nearest. Above each candidate its distance; the nearest is framed.

# %%
puvae.reset_randomness(0)
projection = puvae.project(attacked[:5])
candidates, distances, nearest = (ops.convert_to_numpy(part) for part in projection)
figure, axes = plt.subplots(5, 11, figsize=(11, 5.6), layout="constrained")
for row, image, options, lengths, best in zip(
    axes, attacked[:5], candidates, distances, nearest, strict=True
):
    row[0].imshow(image, cmap="gray", vmin=0, vmax=1)
    row[0].set_title("attacked", fontsize=8)
    for axis, option, length in zip(row[1:], options, lengths, strict=True):
        axis.imshow(option, cmap="gray", vmin=0, vmax=1)
        axis.set_title(f"{length:.2f}", fontsize=8)
    for axis in row:
        axis.set(xticks=[], yticks=[])
    for spine in row[1 + best].spines.values():
        spine.set(color=PALETTE["vermillion"], linewidth=3)
figure.suptitle("Each image as every class, 0 to 9, and the distance to it", fontsize=10)
plt.show()

# %% [markdown]
# ## Distances
#
# How much nearer is the candidate of the true class than the nearest wrong one? Where the margin is
# below 0 the purifier has chosen a wrong class, and the purified image looks like that class.

# %%
margins = {}
for name, batch in {"clean": images, "attacked": attacked}.items():
    found = ops.convert_to_numpy(puvae.project(batch).distances)
    rows = np.arange(len(labels))
    own = found[rows, labels]
    found[rows, labels] = np.inf
    margins[name] = found.min(axis=1) - own
    print(f"{name}: chosen class is true for {np.mean(margins[name] > 0):.0%}")
figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
bins = np.linspace(
    min(m.min() for m in margins.values()), max(m.max() for m in margins.values()), 25
)
for (name, values), colour in zip(
    margins.items(), (PALETTE["blue"], PALETTE["orange"]), strict=True
):
    axis.hist(values, bins, alpha=0.6, label=name, color=colour)
axis.axvline(0, color="black", linewidth=1)
axis.set(
    xlabel="distance of the nearest wrong candidate less that of the true one", ylabel="images"
)
axis.legend()
plt.show()

# %% [markdown]
# ## Latent space
#
# The encoder is told the class, so the latent vector need not hold it, and the prior N(0, I) that
# the divergence draws it to is the same for all classes. After this short training each class still
# keeps to its own place. The deviations show how much the latent vector carries: a direction that
# carries nothing would keep the prior's deviation of 1.

# %%
codes = np.eye(10, dtype="float32")[labels]
z_mean, z_deviation = (ops.convert_to_numpy(z) for z in puvae.encoder([images, codes]))
_, _, directions = np.linalg.svd(z_mean - z_mean.mean(axis=0), full_matrices=False)
plane = (z_mean - z_mean.mean(axis=0)) @ directions[:2].T
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
dots = left.scatter(*plane.T, c=labels, cmap="tab10", s=18)
figure.colorbar(dots, ax=left, label="class")
left.set(title="latent means, two main directions", xlabel="first", ylabel="second")
right.bar(np.arange(z_deviation.shape[1]), np.sort(z_deviation.mean(axis=0)), color=PALETTE["blue"])
right.set(title="mean deviation of each latent direction", xlabel="direction, sorted", ylabel="σ")
plt.show()
print(f"directions with a deviation below 0.9: {np.sum(z_deviation.mean(axis=0) < 0.9)} of 32")

# %% [markdown]
# ## Weights of the loss
#
# The paper weighs reconstruction, divergence and cross-entropy by (0.01, 0.1, 10). Where the
# divergence weighs less than the reconstruction, perturbations are copied; Figure 7 of the paper,
# 004.F7 here, shows it for three triples. Below is what the published weights make of the images.

# %%
print(
    "weights:", puvae.reconstruction_weight, puvae.kl_weight, puvae.cross_entropy_weight,
)
for name, batch in {"clean": images, "attacked": attacked}.items():
    purified = puvae.purify(batch)
    moved = np.linalg.norm((purified - images).reshape(len(images), -1), axis=1).mean()
    hits = np.mean(target.predict(purified, verbose=0).argmax(1) == labels)
    print(f"{name}: L2 from purified to clean image {moved:.2f}; target right {hits:.0%}")

# %% [markdown]
# ## An attacker who knows PuVAE
#
# The paper reports that this hardly helps (Figure 8). Its gradient follows the chosen candidate and
# takes the choice for a constant. `attack_surrogate` mixes the candidates by a softmax of their
# distances instead, through which the choice itself has a gradient; `num_draws` averages over the
# latent noise.

# %%
pgd = get_attack("pgd", num_steps=20)
few, truth = images[:40], labels[:40]
attackers = {
    "does not know it": target,
    "through the chosen candidate": DefendedClassifier(puvae, [target], num_draws=2),
    "through the mixture": DefendedClassifier(puvae.attack_surrogate(0.02), [target], num_draws=2),
}
defended = DefendedClassifier(puvae, [target])
lines = [("clean images", f"{np.mean(defended.predict_labels(few) == truth):.0%}")]
for name, victim in attackers.items():
    survived = np.mean(defended.predict_labels(pgd(victim, few, truth, epsilon)) == truth)
    lines.append((f"PGD, attacker {name}", f"{survived:.0%}"))
display(Markdown(markdown_table((f"epsilon {epsilon:g}", "target behind PuVAE"), lines)))
