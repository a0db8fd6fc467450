"""Pictures of what PuVAE makes of attacked images: its projections, and its loss weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from results.picture_grids import (
    amplify,
    class_text,
    frame_picture,
    image_batch,
    judged_text,
    name_picture,
    name_row,
    picture_canvas,
    read_arrays,
    require_arrays,
    require_shape,
    require_unit_range,
    show_image,
    words_of,
    write_arrays,
)
from results.style import style_context

_PROJECTIONS = (
    "clean", "attacked", "candidates", "distances", "chosen", "purified", "labels",
    "target_predictions", "decisions",
)  # fmt: skip
_COEFFICIENTS = (
    "clean", "attacked", "label", "candidates", "chosen", "weights", "accuracy",
)  # fmt: skip
_FRAME = "Each column is a class; the nearest candidate is framed."
_MARK = "The class below a purified image is that of the nearest reconstruction."


def save_projections(
    path: str | Path,
    *,
    clean: np.ndarray,
    attacked: np.ndarray,
    candidates: np.ndarray,
    distances: np.ndarray,
    chosen: np.ndarray,
    purified: np.ndarray,
    labels: np.ndarray,
    target_predictions: np.ndarray,
    decisions: np.ndarray,
    class_names: Sequence[str] | None = None,
    threat_model: str = "",
) -> None:
    """Stores what `projection_grid` draws, beside the rows and without pickle.

    Args:
        path: Where, ending in `.npz`.
        clean: `(batch, height, width, channels)` in [0, 1].
        attacked: The same images after the attack.
        candidates: Each attacked image as every class,
            `(batch, classes, height, width, channels)` in [0, 1].
        distances: How far each candidate is from the attacked image, `(batch, classes)`.
        chosen: The class of the nearest candidate, `(batch,)`.
        purified: The nearest candidate.
        labels: True labels, `(batch,)`.
        target_predictions: What the target says of the attacked images, `(batch,)`.
        decisions: What it says of the purified ones, `(batch,)`.
        class_names: Names of the classes; without them they are shown as numbers.
        threat_model: What the attacker knew.

    Raises:
        ValueError: If shapes do not agree, values leave [0, 1], or what was chosen is not the
            nearest.
    """
    arrays: dict[str, np.ndarray] = {
        "clean": np.asarray(clean, np.float32),
        "attacked": np.asarray(attacked, np.float32),
        "candidates": np.asarray(candidates, np.float32),
        "distances": np.asarray(distances, np.float32),
        "chosen": np.asarray(chosen, np.int64),
        "purified": np.asarray(purified, np.float32),
        "labels": np.asarray(labels, np.int64),
        "target_predictions": np.asarray(target_predictions, np.int64),
        "decisions": np.asarray(decisions, np.int64),
        **words_of(class_names, threat_model),
    }
    _check_projections(arrays, str(path))
    write_arrays(path, arrays)


def _check_projections(arrays: Mapping[str, np.ndarray], place: str) -> None:
    require_arrays(arrays, _PROJECTIONS, place, "results.puvae_images.save_projections")
    shape = image_batch(arrays["clean"], place)
    require_shape(arrays, ("clean", "attacked", "purified"), shape, place)
    classes = arrays["distances"].shape[-1] if arrays["distances"].ndim else 0
    require_shape(arrays, ("distances",), (shape[0], classes), place)
    require_shape(arrays, ("candidates",), (shape[0], classes, *shape[1:]), place)
    names = ("labels", "target_predictions", "decisions", "chosen")
    require_shape(arrays, names, shape[:1], place)
    require_unit_range(arrays, ("clean", "attacked", "purified", "candidates"), place)
    chosen, everyone = arrays["chosen"], np.arange(shape[0])
    if not ((chosen >= 0) & (chosen < classes)).all():
        raise ValueError(f"{place}: expected chosen in 0 to {classes - 1}, received {chosen}.")
    nearest = arrays["distances"].min(axis=1)
    if not np.allclose(arrays["distances"][everyone, chosen], nearest, atol=1e-6):
        raise ValueError(
            f"{place}: expected chosen to be the class of the nearest candidate, "
            f"{arrays['distances'].argmin(axis=1)}, received {chosen}."
        )
    if not np.allclose(arrays["purified"], arrays["candidates"][everyone, chosen], atol=1e-5):
        raise ValueError(
            f"{place}: expected purified to be the chosen candidate of each image, received other "
            "images. Store candidates and purified images of one and the same draw."
        )


def projection_grid(
    examples: str | Path | Mapping[str, np.ndarray], title: str, caption: str, columns: int = 10
) -> Figure:
    """Clean, attacked, perturbation and purified image of each example, and the class chosen.

    **Reference**: PuVAE, Figures 4 and 5.

    **Differs from the paper**: the amplified perturbation, who says what, and the class that the
    nearest reconstruction was made for, which is not the decision.

    Args:
        examples: Path of an `.npz` by `save_projections`, or its arrays.
        title: First line.
        caption: What the profile cuts.
        columns: How many examples at most.

    Returns:
        The figure: one row per kind of image, one column per example. Blue words are right,
        vermillion ones wrong.

    Raises:
        ValueError: If the arrays are not what `save_projections` writes.
    """
    arrays = _arrays(examples)
    _check_projections(arrays, _place(examples))
    count = min(columns, len(arrays["labels"]))
    perturbation, factor = amplify(arrays["attacked"][:count] - arrays["clean"][:count])
    kinds = {
        "clean\nlabel": (arrays["clean"], None),
        "attacked\ntarget says": (arrays["attacked"], arrays["target_predictions"]),
        f"perturbation\n× {factor:.3g}": (perturbation, None),
        "purified\ntarget says,\nbelow: class\nchosen": (arrays["purified"], arrays["decisions"]),
    }
    with style_context():
        figure, grid = picture_canvas(
            title, str(arrays.get("threat_model", "")), f"{caption} {_MARK}".strip(), count,
            rows=len(kinds), above=0.18, below=[0.06] * (len(kinds) - 1) + [0.24],
        )  # fmt: skip
        for row, (side, (images, said)) in enumerate(kinds.items()):
            for column in range(count):
                axes, truth = grid[row][column], int(arrays["labels"][column])
                show_image(axes, images[column])
                if said is not None:
                    name_picture(axes, *judged_text(arrays, int(said[column]), truth), above=True)
                elif row == 0:
                    name_picture(axes, class_text(arrays, truth), above=True)
            name_row(grid[row][0], side)
        for column, axes in enumerate(grid[-1]):
            chosen, truth = int(arrays["chosen"][column]), int(arrays["labels"][column])
            name_picture(axes, *judged_text(arrays, chosen, truth))
    return figure


def save_coefficients(
    path: str | Path,
    *,
    clean: np.ndarray,
    attacked: np.ndarray,
    label: int,
    candidates: np.ndarray,
    chosen: np.ndarray,
    weights: np.ndarray,
    accuracy: np.ndarray,
    class_names: Sequence[str] | None = None,
    threat_model: str = "",
) -> None:
    """Stores what `coefficient_grid` draws, beside the rows and without pickle.

    Args:
        path: Where, ending in `.npz`.
        clean: One image, `(height, width, channels)` in [0, 1].
        attacked: The same image after the attack.
        label: Its true label.
        candidates: The attacked image as every class, by the PuVAE of each triple of weights,
            `(triples, classes, height, width, channels)` in [0, 1].
        chosen: The class of the nearest candidate, `(triples,)`.
        weights: λ_RC, λ_KL and λ_CE, `(triples, 3)`, each at least 0.
        accuracy: The target's on all purified test images, `(triples,)`, fractions.
        class_names: Names of the classes; without them they are shown as numbers.
        threat_model: What the attacker knew.

    Raises:
        ValueError: If shapes do not agree or values leave their range.
    """
    arrays: dict[str, np.ndarray] = {
        "clean": np.asarray(clean, np.float32),
        "attacked": np.asarray(attacked, np.float32),
        "label": np.asarray(label, np.int64),
        "candidates": np.asarray(candidates, np.float32),
        "chosen": np.asarray(chosen, np.int64),
        "weights": np.asarray(weights, np.float64),
        "accuracy": np.asarray(accuracy, np.float64),
        **words_of(class_names, threat_model),
    }
    _check_coefficients(arrays, str(path))
    write_arrays(path, arrays)


def _check_coefficients(arrays: Mapping[str, np.ndarray], place: str) -> None:
    require_arrays(arrays, _COEFFICIENTS, place, "results.puvae_images.save_coefficients")
    shape = image_batch(arrays["clean"][np.newaxis], place)[1:]
    triples, classes = (*arrays["candidates"].shape, 0, 0)[:2]
    require_shape(arrays, ("clean", "attacked"), shape, place)
    require_shape(arrays, ("candidates",), (triples, classes, *shape), place)
    require_shape(arrays, ("label",), (), place)
    require_shape(arrays, ("weights",), (triples, 3), place)
    require_shape(arrays, ("accuracy", "chosen"), (triples,), place)
    if not triples or not classes:
        raise ValueError(f"{place}: expected at least one triple of weights, received none.")
    require_unit_range(arrays, ("clean", "attacked", "candidates", "accuracy"), place)
    if not (np.isfinite(arrays["weights"]).all() and (arrays["weights"] >= 0).all()):
        raise ValueError(f"{place}: expected weights >= 0, received {arrays['weights'].tolist()}.")


def coefficient_grid(
    examples: str | Path | Mapping[str, np.ndarray], title: str, caption: str, columns: int = 10
) -> Figure:
    """One attacked image as every class, by the PuVAE of each triple of loss weights.

    **Reference**: PuVAE, sec. V-A, Figure 7.

    **Differs from the paper**: the clean image too; the nearest candidate is framed.

    Args:
        examples: Path of an `.npz` by `save_coefficients`, or its arrays.
        title: First line.
        caption: What the profile cuts.
        columns: How many classes at most.

    Returns:
        The figure: the clean and the attacked image, then a row of candidates for each triple,
        beside it the weights and the accuracy on all test images.

    Raises:
        ValueError: If the arrays are not what `save_coefficients` writes.
    """
    arrays = _arrays(examples)
    _check_coefficients(arrays, _place(examples))
    triples, count = len(arrays["weights"]), min(columns, arrays["candidates"].shape[1])
    with style_context():
        figure, grid = picture_canvas(
            title, str(arrays.get("threat_model", "")), f"{caption} {_FRAME}".strip(),
            max(count, 2), rows=1 + triples, left=1.2, above=0.16, below=0.08,
        )  # fmt: skip
        for axes, name in zip(grid[0], ("clean", "attacked"), strict=False):
            show_image(axes, arrays[name])
            name_picture(axes, name, above=True)
        name_row(grid[0][0], f"label\n{class_text(arrays, int(arrays['label']))}")
        for axes in grid[0][2:]:
            axes.set_visible(False)
        for line, weights, accuracy, chosen, images in zip(
            grid[1:], arrays["weights"], arrays["accuracy"], arrays["chosen"],
            arrays["candidates"], strict=True,
        ):  # fmt: skip
            for label, (axes, image) in enumerate(zip(line, images, strict=False)):
                show_image(axes, image)
                name_picture(axes, class_text(arrays, label), above=True)
                if label == chosen:
                    frame_picture(axes)
            named = zip(("RC", "KL", "CE"), weights, strict=True)
            sides = [f"{_weight(loss)} = {weight:g}" for loss, weight in named]
            name_row(line[0], "\n".join([*sides, f"{100 * accuracy:.1f} % correct"]))
    return figure


def _weight(loss: str) -> str:
    return rf"$\lambda_\mathrm{{{loss}}}$"


def _arrays(examples: str | Path | Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return dict(examples) if isinstance(examples, Mapping) else read_arrays(examples)


def _place(examples: str | Path | Mapping[str, np.ndarray]) -> str:
    return "examples" if isinstance(examples, Mapping) else str(examples)
