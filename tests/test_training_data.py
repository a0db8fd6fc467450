"""Training data are checked where they come in, and nothing else changes."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from defenses.adversarial_training import FGSMAdversarialTraining
from defenses.purifier import Phase, Purifier
from tests.attack_helpers import linear_classifier
from tests.purifier_helpers import GREY, NUM_CLASSES, Batches, build, some_images, training_batch

BATCH = 2
SPOILT_IMAGES = [
    (lambda images: 255 * images, r"Expected clean in \[0, 1\].*Divide 8-bit images by 255"),
    (lambda images: (255 * images).astype("uint8"), "Expected clean .* received dtype uint8"),
    (lambda images: np.where(images > 0.9, np.float32("nan"), images), "Expected finite clean"),
    (lambda images: np.repeat(images, 3, axis=-1), "Expected clean of shape"),
    (lambda images: images[..., 0], "Expected clean of shape .*missing axis"),
]
SPOILT_LABELS = [
    (lambda labels: labels + 10, r"label in \[0, 9\], received values from 10 to 15"),
    (lambda labels: labels - 7, r"label in \[0, 9\], received values from -7 to -2"),
    (lambda labels: labels * np.float32("nan"), "label as integers"),
    (lambda labels: np.eye(NUM_CLASSES)[labels], r"label.argmax\(axis=-1\)"),
    (lambda labels: labels[:-1], r"label as integers of shape \(6,\)"),
    (lambda labels: labels.astype("float32"), r"label.astype\('int64'\)"),
]


class Labelled(Purifier):
    """Scales images by a weight, whose loss depends on the labels."""

    batch_keys = ("clean", "label")
    loss_names = ("loss",)
    image_shape = GREY
    num_classes = NUM_CLASSES

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")
        self.finish_building()

    @classmethod
    def for_images(cls, input_shape, num_classes=10, *, width=1.0, seed=0, **arguments):
        return cls(**arguments)

    def call(self, images, training=False):
        return images * self.scale

    def labelled_losses(self, batch, training=True):
        means = keras.ops.mean(self(batch["clean"]), axis=(1, 2, 3))
        return {"loss": keras.ops.mean(means * keras.ops.cast(batch["label"], "float32"))}

    def phases(self):
        return [Phase("labelled", self.labelled_losses, [self.scale], self.optimizer)]


def compiled(name: str) -> keras.Model:
    purifier = Labelled() if name == "labelled" else build(name)
    purifier.compile()
    return purifier


def split(batch: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    length = len(batch["clean"])
    return [
        {k: v[start : start + BATCH] for k, v in batch.items()} for start in range(0, length, BATCH)
    ]


def as_dataset(batch):
    return Batches(split(batch))


def as_threads(batch):
    dataset = Batches(split(batch))
    dataset.workers = 2
    return dataset


def as_generator(batch):
    return ((part,) for part in split(batch))


def as_tensorflow(batch):
    return tf.data.Dataset.from_tensor_slices(batch).batch(BATCH)


def arrays(batch):
    return batch


EVERY_KIND = (arrays, as_dataset, as_threads, as_generator, as_tensorflow)
every_kind = pytest.mark.parametrize("kind", EVERY_KIND)


@every_kind
def test_one_wrong_image_of_the_last_batch_is_refused(kind):
    purifier = compiled("magnet")
    batch = training_batch(purifier, 6)
    batch["clean"][5, 3, 3, 0] = 200.0
    for call in (purifier.fit, purifier.evaluate):
        with pytest.raises(ValueError, match=r"^Expected clean in \[0, 1\], .* to 200. Divide"):
            call(kind(batch), verbose=0)


@every_kind
def test_one_wrong_label_of_the_last_batch_is_refused(kind):
    purifier = compiled("puvae")
    batch = training_batch(purifier, 6)
    batch["label"] = np.array([0, 1, 2, 3, 4, 10])
    with pytest.raises(ValueError, match=r"^Expected label in \[0, 9\], received values"):
        purifier.fit(kind(batch), verbose=0)


def test_everything_wrong_names_its_key_and_a_remedy():
    purifier = compiled("labelled")
    whole = training_batch(purifier, 6)
    calls = (purifier.fit, purifier.evaluate, purifier.train_on_batch, purifier.test_on_batch)
    for key, spoilt in (("clean", SPOILT_IMAGES), ("label", SPOILT_LABELS)):
        for spoil, message in spoilt:
            batch = {**whole, key: spoil(whole[key])}
            for call in calls:
                with pytest.raises(ValueError, match=message):
                    call(batch)
            for validation in (batch, as_dataset(batch), (batch,)):
                with pytest.raises(ValueError, match=r"Expected .*(clean|label)"):
                    purifier.fit(whole, validation_data=validation, verbose=0)


def test_pairs_of_clean_and_attacked_images_fit_each_other():
    purifier = compiled("defense_vae")
    whole = training_batch(purifier, 6)
    with pytest.raises(ValueError, match="Expected adversarial in"):
        purifier.fit({**whole, "adversarial": 255 * whole["adversarial"]}, verbose=0)
    with pytest.raises(ValueError, match="6 of clean, 5 of adversarial"):
        purifier.fit({**whole, "adversarial": whole["adversarial"][:5]}, verbose=0)


def test_what_is_not_used_is_refused():
    purifier = compiled("magnet")
    whole = training_batch(purifier, 4)
    for data in (whole["clean"], {"cleen": whole["clean"]}, None, "clean"):
        with pytest.raises(ValueError, match="dict with the keys"):
            purifier.fit(data)
    with pytest.raises(ValueError, match="dict with the keys"):
        purifier.fit(whole, np.zeros(4, int))
    for name in ("class_weight", "sample_weight"):
        with pytest.raises(ValueError, match=f"Expected no {name}"):
            purifier.fit(whole, **{name: {0: 1.0}})


@every_kind
def test_labels_in_a_column_train_as_labels_in_a_row(kind):
    logs = []
    for column in (False, True):
        purifier = compiled("labelled")
        batch = training_batch(purifier, 6)
        if column:
            batch["label"] = batch["label"][:, None]
        history = purifier.fit(kind(batch), shuffle=False, verbose=0, batch_size=BATCH).history
        logs.append(history["loss"][0])
    assert logs[0] == logs[1]


class Counting(Batches):
    """Counts what Keras calls."""

    def __init__(self, batches):
        super().__init__(batches)
        self.served, self.begun, self.ended = [], 0, 0

    def __getitem__(self, index):
        self.served.append(index)
        return super().__getitem__(index)

    def on_epoch_begin(self):
        self.begun += 1

    def on_epoch_end(self):
        self.ended += 1


def test_a_dataset_is_served_as_without_the_check():
    seen = []
    for train in (type(build("magnet")).fit, keras.Model.fit):
        purifier = compiled("magnet")
        purifier.reset_randomness(0)
        dataset = Counting(split(training_batch(purifier, 6)))
        history = train(purifier, dataset, epochs=3, shuffle=False, verbose=0).history
        seen.append((history, dataset.served, dataset.begun, dataset.ended))
    assert seen[0] == seen[1]
    assert seen[0][2] == 3


def test_features_of_keras_go_on_working():
    purifier = compiled("magnet")
    whole = training_batch(purifier, 8)
    history = purifier.fit(whole, None, 2, 2, verbose=0, validation_split=0.5).history
    assert len(history["loss"]) == len(history["val_loss"]) == 2
    repeated = as_tensorflow(whole).repeat()
    history = purifier.fit(repeated, epochs=2, steps_per_epoch=3, verbose=0).history
    assert len(history["loss"]) == 2
    log = purifier.fit(as_generator(whole), validation_data=as_dataset(whole), verbose=0).history
    assert set(log) == {f"{v}{name}" for name in purifier.loss_names for v in ("", "val_")}
    assert np.isfinite(purifier.train_on_batch(whole)).all()
    assert set(purifier.test_on_batch(whole, return_dict=True)) == set(purifier.loss_names)


def test_pairs_of_images_and_labels_are_checked_alike():
    trainer = FGSMAdversarialTraining(linear_classifier(NUM_CLASSES, GREY)[0], 0.1)
    trainer.compile("sgd")
    images, labels = some_images(6), np.arange(6)
    for pair, message in (
        ((255 * images, labels), r"images in \[0, 1\]"),
        ((images, labels + 9), r"labels in \[0, 9\]"),
        ((images, np.eye(NUM_CLASSES)[labels]), r"labels.argmax\(axis=-1\)"),
    ):
        dataset = tf.data.Dataset.from_tensor_slices(pair).batch(2)
        for data in ((*pair,), (Batches([pair]),), (dataset,)):
            with pytest.raises(ValueError, match=message):
                trainer.fit(*data, verbose=0)
        with pytest.raises(ValueError, match=message):
            trainer.fit(images, labels, validation_data=pair, verbose=0)
    log = trainer.fit(images, labels[:, None], validation_data=(images, labels), verbose=0).history
    assert {"loss", "val_adversarial_accuracy"} <= set(log)
    with pytest.raises(ValueError, match="ends in a softmax"):
        soft = keras.Sequential([trainer.classifier, keras.layers.Softmax()])
        FGSMAdversarialTraining(soft, 0.1)
