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
# # Inside VQUNet
#
# VQUNet of the dissertation's chapter 5 replaces every feature, at every depth of a U-Net, by the
# nearest vector of a codebook. The hope: a small perturbation changes no code, and so vanishes.
# This notebook opens a trained VQUNet from `results/zoo/digits`, looks at its codes, and measures
# what an attack does to them, beside the same network without codebooks.

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

from attacks.registry import get_attack
from defenses.feature_diagnostics import feature_diagnostics
from experiments import datasets, presets, zoo
from results.markdown import markdown_table

# TensorFlow warns of every model's first call; with several models that says nothing.
logging.getLogger("tensorflow").setLevel(logging.ERROR)

# %% [markdown]
# ## The models

# %%
plan = presets.profile("demo").plans["digits"]
data = datasets.load(plan.dataset)
images, labels = data.test.images[:100], data.test.labels[:100]
vqunet = zoo.load("digits", "vqunet")
literal = zoo.load("digits", "vqunet_literal")
without = zoo.load("digits", "non_vqunet")
target = zoo.load("digits", "target_wide_resnet")
for depth, quantizer in enumerate(vqunet.quantizers, start=1):
    print(f"depth {depth}: codebook {tuple(quantizer.codebook.shape)}")

# %% [markdown]
# ## Which codes are used
#
# At each position of each depth, the index of the nearest code. A codebook has ten codes, one for
# each class, for every position; the search runs over all of them. After each gradient step,
# training moves the codes of a class and a position towards an average taken there (Algorithm 1),
# so that more of them stay in use. An average of what? Of the chosen codes, say the dissertation's
# words; this VQUNet averages what the encoder gives, the other reading. Both stand in the table.

# %%
train_images = data.train.images[:500]
lines = []
for name, purifier in {"of features": vqunet, "of codes": literal}.items():
    codes = zip(purifier.codes(train_images), purifier.quantizers, strict=True)
    for depth, (indices, quantizer) in enumerate(codes, start=1):
        counts = np.bincount(indices.ravel(), minlength=quantizer.num_embeddings)
        shares = counts[counts > 0] / counts.sum()
        perplexity = np.exp(-(shares * np.log(shares)).sum())
        here = [len(set(column)) for column in indices.reshape(len(indices), -1).T]
        lines.append(
            (
                name,
                str(depth),
                "x".join(map(str, indices.shape[1:])),
                str(quantizer.num_embeddings),
                f"{(counts > 0).mean():.0%}",
                f"{perplexity:.1f}",
                f"{np.mean(here):.1f}",
            )
        )
header = ("average", "depth", "positions", "codes", "used by 500 images", "perplexity")
display(Markdown(markdown_table((*header, "different codes at a position"), lines)))

# %% [markdown]
# ## One attacked image
#
# FGSM on the bare Wide-ResNet. Below: the clean image, the attacked one, what VQUNet makes of
# either, and, for depths 1 to 3, where the code has changed (white).

# %%
epsilon = 0.1
attacked = get_attack("fgsm")(target, images, labels, epsilon)
shown = [images[0], attacked[0], vqunet.purify(images[:1])[0], vqunet.purify(attacked[:1])[0]]
titles = ["clean", "attacked", "clean, purified", "attacked, purified"]
before, after = vqunet.codes(images[:1]), vqunet.codes(attacked[:1])
for depth in range(3):
    changed = (before[depth][0] != after[depth][0]).astype(float)
    shown.append(changed[..., np.newaxis])
    titles.append(f"depth {depth + 1}:\n{changed.mean():.0%} changed")
figure, panels = plt.subplots(1, len(shown), figsize=(13, 2.4))
for panel, image, title in zip(panels, shown, titles, strict=True):
    panel.imshow(image[..., 0], cmap="gray", vmin=0, vmax=1)
    panel.set_title(title, fontsize=9)
    panel.axis("off")

# %% [markdown]
# ## What an attack changes, depth by depth
#
# For each epsilon: the share of codes that change, and how far features move before and after they
# are replaced by codes: first relative to the size of clean features, then relative to how far
# apart the features of clean images lie (their spread). Figures 5.8 to 5.10 of the dissertation
# are such numbers on CIFAR-10, with no normalization printed. The two do not say the same:
# features that are nearly equal for every image hardly change under an attack either, without
# being robust; only the second tells.

# %%
lines = []
for epsilon in (0.05, 0.1, 0.2):
    found = feature_diagnostics(vqunet, images, get_attack("fgsm")(target, images, labels, epsilon))
    lines += [
        (
            f"{epsilon}",
            str(one.depth),
            f"{one.changed_index_percent:.1f} %",
            f"{one.relative_pre_change:.2f}",
            f"{one.relative_post_change:.2f}",
            f"{one.spread_pre_change:.2f}",
            f"{one.spread_post_change:.2f}",
        )
        for one in found.depths
    ]
header = (
    "epsilon",
    "depth",
    "changed codes",
    "before / size",
    "after / size",
    "before / spread",
    "after / spread",
)
display(Markdown(markdown_table(header, lines)))

# %% [markdown]
# ## With and without codebooks
#
# The L1 distance of the purified attacked image to the *clean* one (Figure 5.7), and how many of
# the images the Wide-ResNet then reads. At epsilon 0 codebooks cost something; the question is
# whether they pay when the image is attacked.

# %%
lines = []
for epsilon in (0.0, 0.05, 0.1, 0.2):
    attacked = get_attack("fgsm")(target, images, labels, epsilon)
    cells = [f"{epsilon}"]
    for purifier in (vqunet, without):
        purified = purifier.purify(attacked)
        distance = np.abs(purified - images).sum(axis=(1, 2, 3)).mean()
        says = target.predict(purified, verbose=0).argmax(axis=1)
        cells += [f"{distance:.1f}", f"{(says == labels).mean():.0%}"]
    lines.append(tuple(cells))
header = ("epsilon", "L1, VQUNet", "read", "L1, without", "read")
display(Markdown(markdown_table(header, lines)))
print(f"the Wide-ResNet reads {(target.predict(images, verbose=0).argmax(1) == labels).mean():.0%}")

# %% [markdown]
# These numbers are `oblivious`: the attacker did not know of the purifier. VQUNet hands a gradient
# on (straight through its quantisers), so an attacker who knows it can use that gradient; notebook
# 02 shows what then happens.
