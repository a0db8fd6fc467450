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
# # Train your own purifier
#
# Any purifier of the registry is a Keras model: it is compiled, fitted, saved as one `.keras` file
# and loaded elsewhere, without this project's experiments. This notebook trains MagNet's reformer
# and an SFL-VAE on scikit-learn's digits in about a minute, and puts them in front of a classifier
# that has nothing to do with this project.

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
import subprocess
import tempfile

import keras
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown, display

from attacks.registry import get_attack
from defenses.defended_classifier import DefendedClassifier
from defenses.registry import get_purifier, purifier_names
from experiments import datasets, presets
from experiments.memory import keep_freed_memory
from results.markdown import markdown_table

logging.getLogger("tensorflow").setLevel(logging.ERROR)
keep_freed_memory()  # trains faster on Linux
print(*purifier_names(), sep=", ")

# %% [markdown]
# ## Your images, your classifier
#
# Images are float32, `(batch, height, width, channels)`, in [0, 1]. The classifier ends in logits.

# %% tags=["parameters"]
epochs = {"classifier": 8, "magnet": 30, "sfl_vae": 12}

# %%
data = datasets.load(presets.profile("demo").plans["digits"].dataset)
train, test = data.train, data.test
print(train.images.shape, train.images.dtype, train.images.min(), train.images.max())

keras.utils.set_random_seed(0)
classifier = keras.Sequential(
    [
        keras.Input((28, 28, 1)),
        keras.layers.Conv2D(16, 4, strides=2, activation="relu"),
        keras.layers.Conv2D(32, 4, strides=2, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(10),
    ]
)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
classifier.compile("adam", loss, metrics=["accuracy"])
classifier.fit(train.images, train.labels, epochs=epochs["classifier"], batch_size=64, verbose=0)
print("clean accuracy:", classifier.evaluate(test.images, test.labels, verbose=0)[1])

# %% [markdown]
# ## Build and train
#
# `for_images` builds the published network for your image shape; `width` scales its channels. What
# a training batch holds is in `batch_keys`: clean images here. Each loss is logged by its name.
# MagNet has three maps in each layer: it is quick, and takes a higher rate than Adam's own.

# %%
purifiers, histories = {}, {}
for name, width, rate in (("magnet", 1.0, 1e-2), ("sfl_vae", 0.125, 2e-3)):
    purifier = get_purifier(name).for_images((28, 28, 1), width=width, seed=0)
    purifier.compile(keras.optimizers.Adam(rate, global_clipnorm=5.0))
    history = purifier.fit({"clean": train.images}, epochs=epochs[name], batch_size=64, verbose=0)
    purifiers[name], histories[name] = purifier, history.history
    first, last = (history.history["reconstruction_loss"][i] for i in (0, -1))
    print(f"{name}: reconstruction loss {first:.3f} -> {last:.3f}, needs {purifier.batch_keys}")

# %% [markdown]
# ## Save, and load elsewhere
#
# One file, read back in Keras's safe mode. Here another process does it: all it needs is Keras and
# the `defenses` package, whose import registers the classes. Purified images come back the same,
# bit for bit, once the randomness starts from the same seed.

# %%
folder = Path(tempfile.mkdtemp())
images = test.images[:50]
np.save(folder / "images.npy", images)
script = """
import sys
import keras, numpy as np
import defenses
folder = sys.argv[1]
purifier = keras.saving.load_model(f"{folder}/sfl_vae.keras", safe_mode=True)
purifier.reset_randomness(7)
np.save(f"{folder}/purified.npy", purifier.purify(np.load(f"{folder}/images.npy")))
"""
purifiers["sfl_vae"].save(folder / "sfl_vae.keras")
root = next(p for p in Path.cwd().joinpath("x").parents if (p / "run_all.py").is_file())
subprocess.run([sys.executable, "-c", script, str(folder)], cwd=root, check=True)
purifiers["sfl_vae"].reset_randomness(7)
here, there = purifiers["sfl_vae"].purify(images), np.load(folder / "purified.npy")
print("file:", (folder / "sfl_vae.keras").stat().st_size // 1024, "KiB")
print("bit-identical:", np.array_equal(here, there))

# %% [markdown]
# ## In front of the classifier, under two attackers
#
# The first attacks the bare classifier. The second attacks purifier and classifier as one model;
# `num_draws` lets each gradient average over the random latent vectors of SFL-VAE.

# %%
attack, epsilon = get_attack("pgd", num_steps=10), 0.15
truth = test.labels[:50]
oblivious = attack(classifier, images, truth, epsilon)
print("no defense:", np.mean(classifier.predict(oblivious, verbose=0).argmax(axis=1) == truth))
lines = []
for name, purifier in purifiers.items():
    defended = DefendedClassifier(purifier, [classifier], num_draws=2)
    batches = (images, oblivious, attack(defended, images, truth, epsilon))
    shares = [np.mean(defended.predict_labels(batch) == truth) for batch in batches]
    lines.append((name, *(f"{share:.0%}" for share in shares)))
display(Markdown(markdown_table(("classifier behind", "clean", "oblivious", "adaptive"), lines)))

# %%
shown = [images, oblivious, *(purifier.purify(oblivious) for purifier in purifiers.values())]
figure, axes = plt.subplots(4, 8, figsize=(8, 4.3), layout="constrained")
for row, name, batch in zip(axes, ("clean", "attacked", *purifiers), shown, strict=True):
    row[0].set_ylabel(name)
    for axis, image in zip(row, batch, strict=False):
        axis.imshow(image, cmap="gray", vmin=0, vmax=1)
        axis.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# The last column is the one that counts, and it is an upper bound: ten steps of one attack.
# `docs/adding_a_defense.md` goes on from here to a purifier that does not exist yet.
