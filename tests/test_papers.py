"""What single papers show: their own columns, notes and printed values, on made-up rows."""

from __future__ import annotations

import pytest

from papers import catalog, chapter3, chapter4, chapter5
from results.exhibit import threat_words
from results.markdown import sheet_table
from results.row import Row
from results.sheet import Sheet, fill
from tests.made_rows import CLEAN, accuracy, cells, clean, number


def sheet(id: str, rows: list[Row], dataset: str = "cifar10") -> Sheet:
    return fill(catalog.exhibit(id), dataset, rows)


def table(id: str, rows: list[Row], dataset: str = "cifar10") -> list[list[str]]:
    return cells(sheet_table(sheet(id, rows, dataset)))


def labels(found: Sheet) -> list[str]:
    return [line.label for panel in found.panels for line in panel.lines]


# -- chapter 3 ------------------------------------------------------------------------------------


def pool(threat: str, defense: str = "sfl_vae") -> list[Row]:
    """Every decider of a pool under attack."""
    drawn = {"target": "A", "drawn": 3, "voters": 6}
    common = {"defense": defense, "threat_model": threat}
    return [
        accuracy(0.2, decider="target", settings={"target": "A"}, **common),
        accuracy(0.4, decider="mean_voter", settings={"target": "A", "voters": 6}, **common),
        accuracy(0.5, decider="vote", settings=drawn, **common),
        accuracy(0.6, decider="vote_bayes", settings=drawn, **common),
        accuracy(0.7, decider="vote_bayes", settings={**drawn, "tables": "heldout"}, **common),
    ]


def test_two_chapters_show_other_lines_of_the_same_rows():
    rows = [*pool("oblivious"), *pool("oblivious", "defense_cyclegan")]
    rows.append(accuracy(0.3, defense="magnet", decider="target"))
    assert labels(sheet("003.F3.6", rows)) == [
        "SFL-VAE + target",
        "SFL-VAE, mean single voter",
        "SFL-VAE, vote (3 of 6)",
        "SFL-VAE, vote (3 of 6) + Bayes",
        "SFL-VAE, vote (3 of 6) + Bayes, held-out tables",
        "Defense-CycleGAN, vote (3 of 6) + Bayes",
        "MagNet + target",
    ]
    assert labels(sheet("003.F4.2", rows)) == [
        "SFL-VAE, mean single voter",
        "SFL-VAE, vote (3 of 6) + Bayes",
        "Defense-CycleGAN + target",
        "Defense-CycleGAN, mean single voter",
        "Defense-CycleGAN, vote (3 of 6)",
        "Defense-CycleGAN, vote (3 of 6) + Bayes",
        "Defense-CycleGAN, vote (3 of 6) + Bayes, held-out tables",
    ]


def test_deciders_that_were_not_attacked_are_in_no_framework_figure():
    attacked, *_ = pool("framework_transfer")
    rows = [attacked, *pool("framework")[1:]]
    assert "SFL-VAE + target" not in labels(sheet("003.F3.10", rows))
    assert sheet("003.F3.6", rows).panels == ()
    assert sheet("003.F3.11", rows).panels == ()


def attacked_itself(value: float, aimed: str, **changes: object) -> Row:
    settings = {"target": "A", "aimed": aimed, **changes.pop("settings", {})}  # type: ignore[dict-item]
    return accuracy(value, threat_model="framework", settings=settings, **changes)


def test_a_fair_profile_shows_every_decider_that_was_attacked_itself():
    drawn = {"drawn": 3, "voters": 6}
    rows = [
        attacked_itself(0.1, "target", decider="target"),
        attacked_itself(0.2, "retrained", decider="target", settings={"retrained": True}),
        attacked_itself(0.3, "vote", decider="vote", settings=drawn),
        attacked_itself(0.4, "vote_bayes", decider="vote_bayes", settings=drawn),
        attacked_itself(0.05, "target", defense="vqunet", decider="target"),
        clean(0.9, decider="mean_voter", settings={"target": "A", "voters": 6}),
    ]
    found = sheet("003.F3.10", rows)
    assert labels(found) == [
        "SFL-VAE + target",
        "SFL-VAE, vote (3 of 6)",
        "SFL-VAE, vote (3 of 6) + Bayes",
        "SFL-VAE + retrained target",
        "VQUNet + target",
    ]
    caveat = found.exhibit.caveat_of
    assert caveat(rows).startswith("Each decider is attacked itself")
    assert caveat(pool("framework")).endswith("the target's label, which is not attacked.")
    assert threat_words(["framework"], rows).endswith("purifier and what decides behind it")
    assert threat_words(["framework"], pool("framework")).endswith("purifier and one classifier")


def test_the_second_reading_stands_beside_the_first_but_has_no_rank():
    names = ("defense_cyclegan", "defense_cyclegan_noisy", "defense_cyclegan_1")
    rows = [
        number(value, metric="l1", defense=name, **CLEAN, settings={})
        for name, value in zip(names, (50.0, 60.0, 70.0), strict=True)
    ]
    found = {line[0]: line for line in table("003.T4.1", rows)}
    ranks = {name: line[3] for name, line in found.items()}
    assert ranks["Defense-CycleGAN"] == "1" and ranks["Cyc_1"] == "2"
    assert ranks["Defense-CycleGAN, second reading"] == "–"
    curve = [*pool("oblivious", "defense_cyclegan"), *pool("oblivious", names[1])]
    assert "Defense-CycleGAN, second reading, vote (3 of 6)" in labels(sheet("003.F4.2", curve))
    assert not any("second reading" in one for one in labels(sheet("003.F3.6", curve)))


def test_overruled_votes_stand_by_attack_and_purifier():
    rows = [
        number(share, metric="overruled", decider="vote_bayes", settings={"target": target})
        for target, share in zip("ABC", (0.1, 0.2, 0.3), strict=True)
    ]
    assert table("003.S3.overruled", rows)[1:] == [["FGSM, oblivious, SFL-VAE", "20.0"]]


def test_validation_images_choose_a_reading_and_are_in_no_other_table():
    split = {"split": "validation"}
    rows = [
        number(90.0, metric="l1", defense="vqunet", **CLEAN, settings=split),
        clean(0.6, defense="vqunet", decider="target", settings={**split, "target": "wide_resnet"}),
    ]
    assert table("003.S5.reading", rows)[1:] == [["VQUNet", "90", "60.0 ± 3.0"]]
    for other in ("003.F5.7", "003.T5.1", "003.F5.3", "003.S3.clean"):
        assert sheet(other, rows).rows == ()


def test_other_targets_and_searches_are_of_other_papers():
    usual = accuracy(0.5, defense="none", decider="target")
    other = accuracy(0.9, defense="none", decider="target", settings={"target": "puvae_a"})
    search = {"target": "A", "restarts": 20, "steps": 4}
    shorter = accuracy(0.9, defense="defense_gan", decider="target", settings=search)
    assert sheet("003.F3.6", [usual, other, shorter]).rows == (usual,)


def test_the_sweep_stays_out_of_the_distances():
    swept = {"mean_latent": True, "kl_weight": 0.1}
    rows = [
        number(3.0, metric="l1", settings={"target": "A"}),
        number(2.0, metric="l1", **CLEAN, settings={}),
        number(9.0, metric="l1", **CLEAN, settings=swept),
    ]
    assert table("003.F3.2", rows) == [
        ["distance", "ε = 0", "ε = 0.1"],
        ["L1, SFL-VAE", "2", "3"],
    ]
    assert table("003.S3.kl_weight", rows) == [
        ["kl_weight", "L1, SFL-VAE, mean latent"],
        ["0.1", "9"],
    ]


def test_clean_accuracies_of_each_target_and_their_mean():
    rows = [
        clean(value, defense="none", decider="target", settings={"target": target})
        for target, value in (("A", 0.8), ("B", 0.9), ("wide_resnet", 0.95))
    ]
    rows.append(clean(0.7, settings={"target": "A", "drawn": 3, "voters": 6}))
    assert table("003.S3.clean", rows)[1:] == [
        ["no defense A", "80.0"],
        ["no defense B", "90.0"],
        ["no defense, mean", "85.0 ± 2.2"],
        ["SFL-VAE, vote (3 of 6)", "70.0 ± 2.8"],
        ["no defense (Wide-ResNet)", "95.0 ± 1.4"],
    ]


def test_printed_values_of_the_curves():
    def marks(id: str, dataset: str) -> list[tuple]:
        return [tuple(mark)[1:] for mark in catalog.exhibit(id).draw.marks(dataset)]

    assert marks("003.F3.6", "cifar10") == [(0.0, 91)]
    assert marks("003.F3.6", "fashion_mnist") == [(0.0, 99), (None, 93)]
    assert marks("003.F3.10", "cifar10") == []
    assert marks("003.F3.2", "cifar10") == [(0.15, None)]
    assert marks("003.F3.3", "cifar10") == []
    assert marks("003.S3.kl_weight", "cifar10") == [(None, 126)]
    assert marks("003.F4.2", "cifar10") == [(0.0, 91)]
    assert marks("003.F4.3", "cifar10") == [(0.0, 91), (None, 80)]
    assert marks("003.F4.2", "fashion_mnist") == [(0.0, 97), (None, 90)]
    assert marks("003.F5.3", "cifar10") == [(0.0, 93.08)]
    assert marks("003.F5.3", "fashion_mnist") == [(0.0, 93.39), (None, 90)]
    assert marks("003.F3.6", "digits") == marks("003.F5.3", "digits") == []


# -- chapters 4 and 5 -----------------------------------------------------------------------------


def test_reconstructions_are_ranked_among_what_was_measured():
    common = {"metric": "l1", **CLEAN, "settings": {}}
    rows = [
        number(value, defense=name, **common)
        for name, value in (("sfl_vae", 50.0), ("defense_cyclegan_2", 40.0), ("vqunet", 1.0))
    ]
    rows.append(number(2.0, defense="sfl_vae", **{**common, "metric": "l1_standard_error"}))
    assert table("003.T4.1", rows) == [
        ["L1 on clean images", "measured", "printed", "rank", "printed rank"],
        ["SFL-VAE", "50 ± 2", "126.0", "2", "1"],
        ["Cyc_2", "40", "225.9", "1", "2"],
    ]
    other = [number(5.0, defense="sfl_vae", dataset="fashion_mnist", **common)]
    assert table("003.T4.1", other, "fashion_mnist")[1] == ["SFL-VAE", "5", "–", "1", "–"]


def test_filtering_costs_what_the_bare_classifier_is_ahead():
    wide = {"decider": "target", "settings": {"target": "wide_resnet"}}
    retrained = {**wide, "settings": {"target": "wide_resnet", "retrained": True}}
    rows = [
        clean(0.9, defense="none", **wide),
        clean(0.7, defense="vqunet", **wide),
        clean(0.85, defense="vqunet", **retrained),
        clean(0.6, defense="sfl_vae", **wide),
    ]
    assert table("003.T5.1", rows)[1:] == [
        ["no defense", "90.0 ± 1.9", "–", "–", "–", "94.03", "–"],
        ["VQUNet", "85.0 ± 2.2", "5.0", "70.0 ± 2.8", "20.0", "93.08", "0.95"],
        ["SFL-VAE", "–", "–", "60.0 ± 3.0", "30.0", "86.51", "7.52"],
    ]


def test_the_chapters_print_what_their_text_says():
    assert chapter4.printed_clean("cifar10") == 91
    assert chapter4.printed_clean("fashion_mnist") == 97
    with pytest.raises(ValueError, match="received 'mnist'"):
        chapter4.printed_clean("mnist")
    assert chapter5.printed_filtered("digits") == {}
    assert chapter3.DATASETS == ("fashion_mnist", "cifar10")


def test_features_are_told_apart_by_stage_and_depth():
    rows = [
        number(
            0.1 * depth + (stage == "post"),
            defense="vqunet",
            metric="feature_change",
            settings={"target": "wide_resnet", "depth": depth, "stage": stage},
        )
        for depth in (1, 2)
        for stage in ("pre", "post")
    ]
    assert table("003.F5.9", rows)[1:] == [
        ["change of features: before quantisation, depth 1", "0.1"],
        ["change of features: before quantisation, depth 2", "0.2"],
        ["change of features: after quantisation, depth 1", "1.1"],
        ["change of features: after quantisation, depth 2", "1.2"],
    ]
    assert [line[0] for line in table("003.F5.8", rows)[1:]] == [
        "change of features: VQUNet, depth 1",
        "change of features: VQUNet, depth 2",
    ]


# -- PuVAE ----------------------------------------------------------------------------------------


def puvae_row(value: float, defense: str = "puvae", **changes: object) -> Row:
    """An accuracy on MNIST, of the target puvae_a unless told otherwise."""
    settings = {"target": "puvae_a", **changes.pop("settings", {})}  # type: ignore[dict-item]
    fields = {
        "dataset": "mnist",
        "decider": "target",
        "attack": "targeted_fgsm",
        "epsilon": 0.3,
        **changes,
    }
    return accuracy(value, defense=defense, settings=settings, **fields)


def test_printed_values_stand_beside_what_the_paper_measures():
    rows = [
        puvae_row(0.1, "none"),
        puvae_row(0.98, "none", **CLEAN),
        puvae_row(0.5, "magnet"),
        puvae_row(0.9, "magnet", settings={"detectors": True}),
        puvae_row(0.6, "adversarial_training"),
        puvae_row(0.2, "adversarial_training", threat_model="adaptive"),
        puvae_row(0.3, settings={"source": "puvae_b"}),
        # Of Figure 8, of Figure 7 and of Figure 9.
        puvae_row(0.0, threat_model="adaptive", settings={"surrogate": "argmin"}),
        puvae_row(0.0, settings={"reconstruction": 0.1, "kl": 0.1, "cross_entropy": 10}),
        puvae_row(0.0, "defense_gan", settings={"restarts": 20, "steps": 4}),
    ]
    assert table("004.T3", rows, "mnist") == [
        [
            "accuracy (%)",
            "no defense",
            "adversarial training",
            "adversarial training, attacked itself",
            "MagNet, reformer alone",
            "MagNet, whole",
            "PuVAE",
        ],
        ["A (PuVAE), no attack", "98.0 ± 0.9 (99.51)", "–", "–", "–", "–", "–"],
        [
            "A (PuVAE), targeted FGSM, ε = 0.3",
            "10.0 ± 1.9 (12.46)",
            "60.0 ± 3.0 (78.57)",
            "20.0 ± 2.5",
            "50.0 ± 3.1 (26.90)",
            "90.0 ± 1.9",
            "30.0 ± 2.8 (81.33)",
        ],
    ]
    notes = sheet_table(sheet("004.T3", rows, "mnist"))
    assert "counts as handled if attacked, else as an error." in notes
    assert "which is not measured here. Attacked itself: on images" in notes
    assert "masks gradients" in notes


def test_shares_stand_in_a_table_of_their_own():
    cw = {"attack": "targeted_carlini_wagner", "epsilon": 1.0, "norm": "l2"}
    alone = {"decider": "none", "dataset": "mnist", "settings": {"target": "puvae_a"}}
    rows = [
        puvae_row(0.02, "none", **cw),
        number(0.97, metric="attack_success", defense="none", **cw, **alone),
        number(
            0.5,
            metric="attack_success",
            defense="adversarial_training",
            threat_model="adaptive",
            **cw,
            **alone,
        ),
    ]
    text = sheet_table(sheet("004.T3", rows, "mnist"))
    assert [line[:2] for line in cells(text)][1] == [
        "A (PuVAE), targeted Carlini–Wagner, no budget",
        "2.0 ± 0.9 (0.43)",
    ]
    assert cells(text.split("\n\n")[-1]) == [
        ["share of images (%)", "attack reached its goal", "on adversarial training"],
        ["A (PuVAE), targeted Carlini–Wagner, no budget", "97.0", "50.0"],
    ]


def knowledge_rows(adaptive_images: int) -> list[Row]:
    second = {"target": "puvae_b"}
    return [
        puvae_row(0.1, "none", settings=second),
        puvae_row(0.6, settings=second),
        *(
            puvae_row(
                value,
                threat_model="adaptive",
                images=adaptive_images,
                settings={**second, "surrogate": name},
            )
            for name, value in (("argmin", 0.5), ("softmin", 0.4), ("worst", 0.3))
        ),
    ]


def paired_rows() -> list[Row]:
    """The images that ignore PuVAE among those of the attacker who knows it."""
    known = {"dataset": "mnist", "attack": "targeted_fgsm", "epsilon": 0.3}
    every = {"target": "puvae_b", "surrogate": "worst", "worst_of": "argmin+oblivious+softmin"}
    ignoring = {"target": "puvae_b", "surrogate": "oblivious"}
    return [
        puvae_row(0.62, threat_model="adaptive", images=500, settings=ignoring),
        puvae_row(0.26, threat_model="adaptive", images=500, settings=every),
        number(
            0.02,
            metric="accuracy_gain_standard_error",
            defense="puvae",
            decider="none",
            threat_model="adaptive",
            settings=every,
            **known,
        ),
    ]


def test_knowledge_costs_what_the_worst_attack_takes():
    (_, line) = table("004.F8", knowledge_rows(1000), "mnist")
    # Half widths 3.031 and 2.836: together 4.151.
    assert line == [
        "targeted FGSM, ε = 0.3",
        "10.0 ± 1.9",
        "60.0 ± 3.0",
        "50.0 ± 3.1",
        "40.0 ± 3.0",
        "30.0 ± 2.8",
        "30.0 ± 4.2",
    ]
    unknown = table("004.F8", knowledge_rows(1000)[:2], "mnist")
    assert unknown[1][-1] == "–"


def test_knowledge_costs_what_differs_image_by_image_where_that_was_measured():
    (heading, line) = table("004.F8", [*knowledge_rows(500), *paired_rows()], "mnist")
    found = dict(zip(heading, line, strict=True))
    assert found["adaptive, images that ignore it"].startswith("62.0")
    assert found["adaptive, the worse of the two"].startswith("30.0")
    assert found["adaptive, the worst of the three"].startswith("26.0")
    # 1.96 times the standard error of the difference.
    assert found["cost of knowledge"] == "36.0 ± 3.9"


def test_fewer_images_of_the_adaptive_attacker_are_noted():
    note = "The adaptive attacker had 500 images, the oblivious one 1,000."
    assert note in sheet_table(sheet("004.F8", knowledge_rows(500), "mnist"))
    assert "had" not in sheet_table(sheet("004.F8", knowledge_rows(1000), "mnist"))


def test_loss_weights_are_sorted_by_their_share():
    rows = [
        puvae_row(v, settings={"reconstruction": a, "kl": b, "cross_entropy": 10})
        for v, (a, b) in ((0.3, (0.01, 0.1)), (0.2, (0.1, 0.1)), (0.1, (0.1, 0.01)), (0.4, (0, 1)))
    ]
    weights = {"reconstruction": 0.01, "kl": 0.1, "cross_entropy": 10}
    traded = [*rows, puvae_row(0.9, **CLEAN, settings=weights), puvae_row(0.8)]
    assert [line[4:] for line in table("004.F7", traded, "mnist")] == [
        ["accuracy (%)", "without attack (%)"],
        ["10.0 ± 1.9", "–"],
        ["20.0 ± 2.5", "–"],
        ["30.0 ± 2.8", "90.0 ± 1.9"],
        ["40.0 ± 3.0", "–"],
    ]
    assert [line[:4] for line in table("004.F7", rows, "mnist")[1:]] == [
        ["0.1", "0.01", "10", "1:0.1"],
        ["0.1", "0.1", "10", "1:1"],
        ["0.01", "0.1", "10", "1:10"],
        ["0", "1", "10", "1:inf"],
    ]


def timed(value: float, defense: str, **changes: object) -> Row:
    settings = changes.pop("settings", {})
    fields = {"metric": "seconds", "dataset": "mnist", **CLEAN, **changes}
    return number(value, defense=defense, settings=settings, **fields)


def test_seconds_are_held_against_puvae_as_printed_and_as_it_is():
    batch = {"images": 128, "repeats": 5, "width": 1}
    search = {"restarts": 20, "steps": 200}
    rows = [
        timed(0.5, "puvae", settings={**batch, "passes": 10}),
        timed(0.25, "puvae", settings=batch),
        timed(0.05, "magnet", settings=batch),
        timed(50.0, "defense_gan", settings={**batch, **search, "timed_steps": 4}),
        # Of Figure 9, and of other widths.
        timed(9.0, "puvae", settings={"target": "puvae_a"}),
        timed(8.0, "puvae", settings={"images": 128, "repeats": 5}),
    ]
    text = sheet_table(sheet("004.T7", rows, "mnist"))
    assert cells(text) == [
        [
            "128 images",
            "MagNet",
            "Defense-GAN (200 steps from 20 starts)",
            "PuVAE, ten full passes",
            "PuVAE, shared work",
        ],
        ["seconds", "0.05", "50", "0.5", "0.25"],
        ["seconds, printed", "0.01", "14.8", "0.11", "–"],
        ["ratio to ten full passes", "0.1", "100", "1", "0.5"],
        ["ratio to shared work", "0.2", "200", "2", "1"],
        ["ratio to PuVAE, printed", "0.09", "134.55", "1", "–"],
    ]
    assert text.endswith("over 2 and 4 steps; its seconds are on the line through the two.\n")
    digits = [timed(0.5, "puvae", dataset="digits", settings={**batch, "passes": 10})]
    found = {line[0]: line[1:] for line in table("004.T7", digits, "digits")}
    assert found["seconds, printed"] == ["–"]
    assert found["ratio to PuVAE, printed"] == ["1"]


def test_the_best_search_within_the_limit_counts():
    def search(steps: int, seconds: float, value: float) -> list[Row]:
        settings = {"restarts": 20, "steps": steps}
        return [
            timed(seconds, "defense_gan", settings={"target": "puvae_a", **settings}),
            puvae_row(value, "defense_gan", images=128, settings=settings),
        ]

    rows = [
        *search(1, 0.2, 0.75),
        *search(2, 0.9, 0.5),
        *search(4, 1.1, 1.0),
        puvae_row(0.25, "adversarial_training", images=128),
        timed(1.5, "puvae", settings={"target": "puvae_a"}),
        puvae_row(0.5, images=128, settings={"source": "puvae_b"}),
        # Of Figure 8 and of Figure 7.
        puvae_row(0.9, threat_model="adaptive", settings={"surrogate": "worst"}),
        puvae_row(0.9, settings={"reconstruction": 0.1, "kl": 0.1, "cross_entropy": 10}),
    ]
    text = sheet_table(sheet("004.F9", rows, "mnist"))
    assert [line[:2] for line in cells(text)[1:]] == [
        ["adversarial training", "–"],
        ["Defense-GAN, 1 steps from 20 starts", "0.2"],
        ["Defense-GAN, 2 steps from 20 starts", "0.9"],
        ["Defense-GAN, 4 steps from 20 starts", "1.1"],
        ["PuVAE", "1.5"],
    ]
    heading, within, brackets, budget = text.split("\n\n")[1:]
    assert budget.startswith("No budget: ")
    assert heading == "**Within 1 second (Table 8)**"
    assert cells(within) == [
        ["accuracy (%)", "targeted FGSM, ε = 0.3"],
        ["adversarial training", "25.0 ± 7.4 (78.57)"],
        ["Defense-GAN", "75.0 ± 7.4"],
        ["PuVAE", "– (81.33)"],
    ]
    assert brackets.startswith("In brackets: as printed. MagNet and Defense-GAN share")
    more = [*search(8, 0.5, 0.5), puvae_row(0.5, settings={"source": "puvae_b"})]
    text = sheet_table(sheet("004.F9", more, "mnist"))
    assert text.endswith("Searches of Defense-GAN had 128 images, the others 1,000.\n")
