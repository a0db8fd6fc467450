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
# # Quick start: attack, purify, look, vote
#
# A classifier reads digits. An attack changes the images a little, and the classifier misreads
# them. A purifier, trained on clean images only, redraws what it is given, and the classifiers
# behind it read the redrawn image. This notebook takes one batch through all of it with trained
# models from `results/zoo/digits`, in about a minute on a CPU.
#
# The purifier is SFL-VAE of the dissertation's chapter 3, with its collective vote and its
# Bayesian update. The numbers in the first part are **not robustness**; the last part says why
# and shows what happens when the attacker knows the defense.

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
from defenses.decision import ConditionalTables
from defenses.defended_classifier import DefendedClassifier
from defenses.voting import majority_vote
from experiments import datasets, presets, zoo
from results.markdown import markdown_table
from results.pictures import PictureGrid, PictureRow, amplify, picture_grid
from results.sheet import wilson_interval

# TensorFlow warns of every model's first call; with several models that says nothing.
logging.getLogger("tensorflow").setLevel(logging.ERROR)

# %% [markdown]
# ## The images
#
# scikit-learn's digits, enlarged to 28×28×1 and cut as in the `demo` profile, so that no test
# image was seen in training. Everywhere in the project images are float32 in [0, 1], batch,
# height, width, channels.

# %%
plan = presets.profile("demo").plans["digits"]
data = datasets.load(plan.dataset)
images, labels = data.test.images[:200], data.test.labels[:200]
print(images.shape, images.dtype, images.min(), images.max())

# %% [markdown]
# ## The models
#
# Each is one `.keras` file with a card (`.json`) that holds its recipe, its checksum and what was
# measured of it. `zoo.load` compares the checksum and loads in Keras's safe mode: no pickles, no
# code from the file. A purifier maps images to images, a classifier images to logits.

# %%
purifier = zoo.load("digits", "sfl_vae")
target = zoo.load("digits", "target_A")
voter_names = [name for name in zoo.names("digits") if name.startswith("sfl_vae_voter_")]
voters = [zoo.load("digits", name) for name in voter_names]
purifier.reset_randomness(0)  # SFL-VAE samples its latent vector; this makes the run repeatable
print(f"{type(purifier).__name__}, target {target.name}, voters", [v.name for v in voters])

# %% [markdown]
# ## Attack
#
# Projected gradient descent on the bare target, within 0.15 of each pixel. This is the threat
# model `oblivious`: the attacker has the target's weights and does not know of the purifier. The
# result is guaranteed to stay in the budget and in [0, 1].

# %%
epsilon = 0.15
attack = get_attack("pgd", num_steps=20)
attacked = attack(target, images, labels, epsilon)
print(f"largest change of a pixel: {np.abs(attacked - images).max():.4f}")

# %% [markdown]
# ## Purify
#
# One pass through the purifier. What then remains between its output and the clean image has two
# parts: what is left of the perturbation, and what the purifier itself changes. The same pass over
# the clean images shows the second part alone.

# %%
purified = purifier.purify(attacked)
batches = {
    "attacked": attacked,
    "attacked and purified": purified,
    "clean and purified": purifier.purify(images),
}
for name, batch in batches.items():
    distance = np.sqrt(((batch - images) ** 2).sum(axis=(1, 2, 3))).mean()
    print(f"mean L2 to the clean images, {name}: {distance:.2f}")

# %% [markdown]
# ## Classify and vote
#
# The target and the voters read the purified images. The voters were trained on purified images.
# For each image some of them are drawn at random and the majority of their labels wins; a tie is
# broken at random.

# %%
target_says = {
    "clean": target.predict(images, verbose=0).argmax(axis=1),
    "attacked": target.predict(attacked, verbose=0).argmax(axis=1),
    "purified": target.predict(purified, verbose=0).argmax(axis=1),
}
voters_say = np.stack([v.predict(purified, verbose=0).argmax(axis=1) for v in voters], axis=1)
num_drawn = min(plan.decision.num_drawn, len(voters))
vote = majority_vote(voters_say, num_drawn, rng=0)
print("target on the purified images:", target_says["purified"][:10])
print("vote:                         ", vote[:10])
print("truth:                        ", labels[:10])

# %% [markdown]
# ## Bayesian update
#
# Two pieces of evidence are now there: what the target says of the purified image, and the vote.
# How each depends on the true class is counted once, on purified training images, and Bayes' rule
# turns the pair into one decision (the dissertation's equation 3.3.1, with a uniform prior).

# %%
purified_training = purifier.purify(data.train.images)
training_votes = majority_vote(
    np.stack([v.predict(purified_training, verbose=0).argmax(axis=1) for v in voters], axis=1),
    num_drawn,
    rng=1,
)
tables = ConditionalTables.fit(
    data.train.labels,
    target.predict(purified_training, verbose=0).argmax(axis=1),
    training_votes,
    smoothing=plan.decision.smoothing,
    backoff=plan.decision.backoff,
)
decision = tables.decide(target_says["purified"], vote)
changed = np.flatnonzero(decision != vote)
print(f"the update overrules the vote on {len(changed)} of {len(labels)} images")

# %% [markdown]
# ## Look
#
# One example of each class, so that none was chosen for looking well. Under each image stands what
# is said of it: its label, what the target says of the attacked image, and the vote.

# %%
chosen = np.array([np.flatnonzero(labels == c)[0] for c in np.unique(labels)])
perturbation, factor = amplify(attacked[chosen] - images[chosen])
shown = {
    "clean\nlabel": (images, labels),
    "attacked\ntarget says": (attacked, target_says["attacked"]),
    "purified\nvote says": (purified, vote),
}
rows = [
    PictureRow(
        label=label,
        images=batch[chosen],
        words=[str(answer) for answer in answers[chosen]],
        right=list(answers[chosen] == labels[chosen]),
    )
    for label, (batch, answers) in shown.items()
]
rows.insert(2, PictureRow(label=f"perturbation\n× {factor:.3g}", images=perturbation))
picture_grid(
    PictureGrid(tuple(rows), "oblivious"),
    title=f"PGD, epsilon {epsilon}, and SFL-VAE",
    threat="threat model oblivious: the attacker ignores the defense",
    footer="The perturbation is amplified; grey is no change.",
)

# %% [markdown]
# ## Count

# %%
answers = {
    "target, clean images": target_says["clean"],
    "target, attacked images": target_says["attacked"],
    "target, purified images": target_says["purified"],
    "vote, purified images": vote,
    "vote + Bayes, purified images": decision,
}
counted = {name: int((answer == labels).sum()) for name, answer in answers.items()}
lines = [
    (
        name,
        f"{correct} of {len(labels)}",
        "{:.0%} to {:.0%}".format(*wilson_interval(correct, len(labels))),
    )
    for name, correct in counted.items()
]
display(Markdown(markdown_table(("who decides", "correct", "95 % interval"), lines)))

# %% [markdown]
# ## Is this robustness?
#
# No. The attacker above did not know that a purifier stands before the classifier, so these
# numbers say how much of a *given* perturbation is removed. The purifier is a differentiable
# network like any other. An attacker who has it simply attacks purifier and voters as one model,
# with the same attack and the same budget.

# %%
known = slice(0, 100)
whole_defense = DefendedClassifier(purifier, voters, rule="mean_logits")
informed = attack(whole_defense, images[known], labels[known], epsilon)
purified_informed = purifier.purify(informed)
informed_votes = np.stack(
    [v.predict(purified_informed, verbose=0).argmax(axis=1) for v in voters], axis=1
)
informed_vote = majority_vote(informed_votes, num_drawn, rng=2)
lines = [
    (name, f"{(answer == labels[known]).mean():.0%}")
    for name, answer in {
        "does not know of the purifier": vote[known],
        "attacks purifier and voters as one": informed_vote,
    }.items()
]
display(Markdown(markdown_table(("the attacker", "accuracy of the vote"), lines)))

# %% [markdown]
# The second line is the one to remember, and it is still only an upper bound: the attack took 20
# steps with one random draw of the latent vector in each, and a stronger one may find more.
# Never quote an oblivious number without an informed one beside it.
#
# From here: `python run_all.py` measures whole curves, `docs/papers/chapter3.md` leads from every
# equation of the dissertation's chapter to the function that computes it, and
# `defenses/purifier.py` says what a new purifier has to provide.
