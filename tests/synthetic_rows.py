"""Rows of made-up measurements for the tests of `results`."""

from __future__ import annotations

from collections.abc import Sequence

from results.rows import Row, make_flags

EPSILONS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)


def row(**changes: object) -> Row:
    """A plausible row with some fields changed."""
    fields: dict[str, object] = {
        "experiment": "003.F3.6", "dataset": "cifar10", "defense": "sfl_vae",
        "classifier": "vote", "attack": "fgsm", "norm": "linf", "epsilon": 0.1,
        "threat_model": "oblivious", "metric": "accuracy", "value": 0.8, "correct": 800,
        "total": 1000, "seed": 0, "flags": "target=A", "config_hash": "c0ffee", "seconds": 1.5,
    }  # fmt: skip
    fields.update(changes)
    return Row(**fields)  # type: ignore[arg-type]


def accuracy_row(value: float, images: int = 1000, voters: int = 1, **changes: object) -> Row:
    """An accuracy row of which `value` is the fraction."""
    correct = round(value * images * voters)
    total = images * voters
    return row(value=correct / total, correct=correct, total=total, **changes)


def chapter_rows(
    accuracy: dict[str, Sequence[float]] | None = None,
    *,
    dataset: str = "cifar10",
    attack: str = "fgsm",
    experiment: str = "003.F3.6",
    epsilons: Sequence[float] = EPSILONS,
    threat_model: str = "oblivious",
    warning: str = "",
    images: int = 1000,
    defense: str = "sfl_vae",
) -> list[Row]:
    """All curves of one accuracy figure; targets differ by 0.01 around the mean given."""
    accuracy = accuracy or {
        "none": (0.85, 0.30, 0.12, 0.08, 0.05, 0.03),
        "target": (0.75, 0.60, 0.45, 0.36, 0.30, 0.20),
        "mean_voter": (0.80, 0.70, 0.58, 0.47, 0.38, 0.27),
        "vote": (0.84, 0.745, 0.63, 0.52, 0.42, 0.30),
        "vote_bayes": (0.845, 0.75, 0.64, 0.525, 0.43, 0.31),
    }
    rows = []
    for role, values in accuracy.items():
        for epsilon, value in zip(epsilons, values, strict=True):
            for target, shift in zip("ABC", (-0.01, 0.0, 0.01), strict=True):
                flags: dict[str, object] = {"target": target}
                if role not in ("none", "target"):
                    flags["voters"] = 3
                rows.append(
                    accuracy_row(
                        min(max(value + shift, 0.0), 1.0),
                        images=images,
                        voters=3 if role == "mean_voter" else 1,
                        experiment=experiment,
                        dataset=dataset,
                        attack=attack,
                        epsilon=epsilon,
                        threat_model=threat_model,
                        defense="none" if role == "none" else defense,
                        classifier=target if role in ("none", "target") else role,
                        flags=make_flags(flags, [warning] if warning and epsilon > 0.25 else []),
                    )
                )
    return rows


def distance_rows(
    distances: dict[str, Sequence[float]], *, metric: str = "l2", error: float = 0.05,
    epsilons: Sequence[float] = EPSILONS, **changes: object,
) -> list[Row]:  # fmt: skip
    """L1 or L2 rows with their standard errors, `{defense: values}`."""
    rows = []
    for defense, values in distances.items():
        for epsilon, value in zip(epsilons, values, strict=True):
            fields = {
                "experiment": "003.F3.2", "defense": defense, "classifier": "A",
                "epsilon": epsilon, "correct": None, "total": None, **changes,
            }  # fmt: skip
            rows.append(row(metric=metric, value=value, **fields))
            rows.append(row(metric=f"{metric}_standard_error", value=error, **fields))
    return rows


def voting_rows(sizes: Sequence[int] = (2, 3, 4), **changes: object) -> list[Row]:
    """Voting analysis at two epsilons; values depend on size and epsilon."""
    rows = []
    for metric, slope in (("recovery_rate", 1), ("overlap_wrong", -1), ("overlap_correct", -1)):
        for epsilon in (0.05, 0.1):
            for voters in sizes:
                rows.append(
                    row(
                        experiment="003.F3.14",
                        metric=metric,
                        epsilon=epsilon,
                        value=0.5 + slope * 0.3 * (1 - 1 / voters) - epsilon,
                        correct=None,
                        total=None,
                        flags=make_flags({"target": "A", "voters": voters}),
                        **changes,
                    )
                )
    return rows


def sweep_rows(dataset: str = "cifar10") -> list[Row]:
    """L1 on clean images against the KL weight."""
    values = {"0.01": 80.0, "0.03": 121.0, "0.1": 175.0, "1.0": 305.0}
    return [
        row(
            experiment="003.kl_sweep",
            dataset=dataset,
            classifier="none",
            attack="none",
            norm="linf",
            epsilon=0.0,
            threat_model="clean",
            metric="l1",
            value=value,
            correct=None,
            total=None,
            flags=f"kl_weight={weight}",
        )
        for weight, value in values.items()
    ]


def target_rows(
    accuracy: dict[str, Sequence[float]], *, targets: str | Sequence[str] = "ABC",
    retrained: bool = False, epsilons: Sequence[float] = EPSILONS, **changes: object,
) -> list[Row]:  # fmt: skip
    """Purifiers without a pool, `{defense: values}`; every target has the same accuracy."""
    extra = {"retrained": True} if retrained else {}
    return [
        accuracy_row(
            value, defense=defense, classifier=target, epsilon=epsilon,
            flags=make_flags({"target": target, **({} if defense == "none" else extra)}), **changes,
        )
        for defense, values in accuracy.items()
        for epsilon, value in zip(epsilons, values, strict=True)
        for target in targets
    ]  # fmt: skip


def mixed_rows(
    accuracy: dict[str, Sequence[float]], *, attack: str = "fgsm", **changes: object
) -> list[Row]:
    """A figure of chapter 5: the Wide-ResNet retrained on purified images."""
    number = {"fgsm": 3, "bim": 4, "pgd": 5, "carlini_wagner": 6}[attack]
    fields: dict[str, object] = {
        "experiment": f"003.F5.{number}", "threat_model": "mixed", "attack": attack,
        "targets": ("wide_resnet",), "retrained": True, **changes,
    }  # fmt: skip
    return target_rows(accuracy, **fields)  # type: ignore[arg-type]


def filtered_rows(accuracy: dict[str, float], **changes: object) -> list[Row]:
    """Table 5.1: clean accuracy behind each purifier."""
    fields: dict[str, object] = {
        "experiment": "003.T5.1", "threat_model": "none", "attack": "none",
        "targets": ("wide_resnet",), "retrained": True, "epsilons": (0.0,), **changes,
    }  # fmt: skip
    return target_rows({name: (v,) for name, v in accuracy.items()}, **fields)  # type: ignore[arg-type]


def reconstruction_rows(distances: dict[str, float], **changes: object) -> list[Row]:
    """Table 4.1: L1 of clean reconstructions."""
    fields: dict[str, object] = {
        "experiment": "003.T4.1", "classifier": "none", "attack": "none", "flags": "",
        "threat_model": "none", "metric": "l1", "epsilons": (0.0,), "error": 1.0, **changes,
    }  # fmt: skip
    return distance_rows({name: (v,) for name, v in distances.items()}, **fields)  # type: ignore[arg-type]


def feature_rows(
    values: dict[tuple[str, str], Sequence[Sequence[float]]],
    *,
    metric: str = "feature_change",
    epsilons: Sequence[float] = EPSILONS,
    **changes: object,
) -> list[Row]:
    """Figures 5.8 to 5.10: `{(defense, stage): [values of depth 1, of depth 2, ...]}`."""
    return [
        row(
            defense=defense, metric=metric, value=value, epsilon=epsilon, correct=None, total=None,
            flags=make_flags(
                {"depth": depth, "target": "wide_resnet", **({"stage": stage} if stage else {})}
            ),
            **{"experiment": "003.F5.8", "classifier": "wide_resnet", **changes},
        )
        for (defense, stage), lines in values.items()
        for depth, line in enumerate(lines, start=1)
        for epsilon, value in zip(epsilons, line, strict=True)
    ]  # fmt: skip
