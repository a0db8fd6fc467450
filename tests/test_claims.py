"""Claims: every judge from rows made to deserve each verdict, and who may say which verdict."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from papers import catalog
from results import claims, judges
from results.evidence import Evidence
from results.exhibit import Axis, Line
from results.judges import (
    ABOVE,
    AT_LEAST,
    BELOW,
    Best,
    Everywhere,
    Level,
    MeanGain,
    Order,
    Ratio,
    Relation,
)
from results.store import RowStore
from tests.made_rows import CLEAN, accuracy, clean, number

REPRODUCED, PARTLY, NOT, MISSING = "reproduced", "partly", "not reproduced", "not measured"
NOT_TESTED = "not tested at this size"
ATTACKS = ("fgsm", "bim", "pgd", "carlini_wagner")
EPSILONS = (0.1, 0.2, 0.3)
METHOD, RIVAL, OTHER = (
    Line(name, {"defense": key})
    for name, key in (("method", "sfl_vae"), ("rival", "defense_vae"), ("other", "defense_gan"))
)


def curve(line: Line, values, attack: str = "fgsm", make: Callable = accuracy, **changes):
    """One row of a line for each epsilon."""
    return [
        make(value, **line.where, attack=attack, epsilon=epsilon, **changes)
        for epsilon, value in zip(EPSILONS, values, strict=True)
    ]


def four(line: Line, values, **changes):
    """The same curve under all four attacks."""
    return [row for attack in ATTACKS for row in curve(line, values, attack, **changes)]


def judged(judge, rows, where=None) -> tuple[str, str]:
    return judge.judge(Evidence(rows, where or {}))


# -- Everywhere -----------------------------------------------------------------------------------

above_half = Everywhere(pairs=[(METHOD, 50)], holds=ABOVE, expected=("fgsm",))


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((0.6, 0.6, 0.501), REPRODUCED),
        ((0.6, 0.6, 0.5), PARTLY),
        ((0.6, 0.5, 0.5), NOT),
    ],
)
def test_everywhere_above_a_level(values, verdict):
    found, words = judged(above_half, curve(METHOD, values))
    assert found == verdict
    assert words.startswith(f"above at {sum(v > 0.5 for v in values)} of 3; FGSM at ε = 0.1: 60.0")


def test_everywhere_without_rows_is_not_measured():
    assert judged(above_half, curve(RIVAL, (0.9, 0.9, 0.9))) == (MISSING, "no rows")


def test_a_level_that_is_enough_differs_from_one_that_is_passed():
    inclusive = dataclasses.replace(above_half, holds=AT_LEAST)
    assert judged(inclusive, curve(METHOD, (0.6, 0.5, 0.5)))[0] == REPRODUCED


def test_what_was_held_against_fewer_than_expected_is_reproduced_in_part():
    judge = Everywhere(pairs=[(METHOD, 50)], holds=ABOVE, expected=ATTACKS)
    assert judged(judge, four(METHOD, (0.6, 0.6, 0.6)))[0] == REPRODUCED
    three = [row for row in four(METHOD, (0.6, 0.6, 0.6)) if row.attack != "bim"]
    assert judged(judge, three)[0] == PARTLY


def test_a_pair_without_rows_leaves_it_reproduced_in_part():
    both = dataclasses.replace(above_half, pairs=[(METHOD, 50), (RIVAL, 50)])
    rows = curve(METHOD, (0.6, 0.6, 0.6))
    assert judged(both, rows)[0] == PARTLY
    assert judged(both, rows + curve(RIVAL, (0.6, 0.6, 0.6)))[0] == REPRODUCED


def test_many_points_are_given_by_their_ends():
    words = judged(above_half, four(METHOD, (0.9, 0.7, 0.4)))[1]
    assert words == "above at 8 of 12; 40.0 % (BIM at ε = 0.3) to 90.0 % (PGD at ε = 0.1)"


def test_everywhere_beside_another_line_counts_what_is_beyond_the_interval():
    judge = Everywhere(pairs=[(METHOD, RIVAL)], holds=ABOVE)
    rows = four(METHOD, (0.60, 0.52, 0.40)) + four(RIVAL, (0.50, 0.50, 0.50))
    # 1,000 images: the interval of a difference is 4.4 points.
    assert judged(judge, rows) == (
        PARTLY,
        "above at 8 of 12; above at 8 of 12, +0.7 points (-10.0 to +10.0), 4 beyond the interval",
    )


def test_places_where_the_claim_is_not_made_are_counted_beside():
    judge = Everywhere(
        pairs=[(METHOD, RIVAL)], holds=BELOW, at=lambda attack, epsilon: epsilon < 0.3
    )
    rows = curve(METHOD, (3.0, 3.0, 5.0), make=number) + curve(RIVAL, (4.0,) * 3, make=number)
    assert judged(judge, rows) == (
        REPRODUCED,
        "below at 2 of 2; 0.75 to 0.75 times the other; where the claim is not made, below at 0 "
        "of 1",
    )


@pytest.mark.parametrize(("metric", "clear"), [("l2", 1), ("l2_gain", 2)])
def test_an_error_measured_image_by_image_replaces_the_independent_one(metric, clear):
    rows = [
        *curve(METHOD, (3.0, 3.9, 5.0), make=number),
        *curve(RIVAL, (4.0, 4.0, 4.0), make=number),
        # Two errors of the difference are 0.14, of which 0.1 is within; measured, they are 0.02.
        *curve(METHOD, (0.05,) * 3, make=number, metric="l2_standard_error"),
        *curve(RIVAL, (0.05,) * 3, make=number, metric="l2_standard_error"),
    ]
    if metric == "l2_gain":
        rows += curve(METHOD, (0.01,) * 3, make=number, metric="l2_gain_standard_error")
    judge = Everywhere(pairs=[(METHOD, RIVAL)], holds=BELOW)
    words = judged(judge, rows, {"metric": "l2"})[1]
    assert words.endswith(f"by more than two standard errors at {clear}")


def test_lines_of_several_labels_are_reported_apart_and_missing_ones_named():
    judge = Everywhere(
        pairs=[(METHOD, 50), (RIVAL, 50), (OTHER, 50)],
        holds=BELOW,
        key=lambda label, *place: label,
        expected=("method", "rival", "other"),
    )
    rows = curve(METHOD, (0.1, 0.2, 0.3)) + curve(RIVAL, (0.4, 0.4, 0.4))
    verdict, words = judged(judge, rows)
    assert verdict == PARTLY
    assert words.startswith("below at 6 of 6; method: FGSM at ε = 0.1: 10.0, ")
    assert "; rival: FGSM at ε = 0.1: 40.0, " in words and words.endswith("; other: not measured")
    assert judged(judge, rows + curve(OTHER, (0.1, 0.2, 0.3)))[0] == REPRODUCED


def test_lines_beside_are_reported_and_not_judged():
    judge = Everywhere(pairs=[(METHOD, 50)], holds=ABOVE, beside=[(RIVAL, 50)])
    verdict, words = judged(judge, curve(METHOD, (0.6,) * 3) + curve(RIVAL, (0.1,) * 3))
    assert verdict == REPRODUCED
    assert "; rival (not judged): FGSM at ε = 0.1: 10.0" in words


@pytest.mark.parametrize(("value", "verdict"), [(0.55, MISSING), (0.4, REPRODUCED), (0.8, NOT)])
def test_on_other_images_a_difference_within_its_interval_decides_nothing(value, verdict):
    judge = Everywhere(pairs=[(METHOD, RIVAL)], holds=BELOW, other_images=True)
    rows = curve(METHOD, (value,) * 3, images=100) + curve(RIVAL, (0.6,) * 3)
    found, words = judged(judge, rows)
    assert found == verdict
    assert "(100 images against 1,000)" in words
    assert ("below at 0 of 0, undecided at 3" in words) == (verdict == MISSING)
    same = curve(METHOD, (0.55,) * 3) + curve(RIVAL, (0.6,) * 3)
    assert judged(judge, same)[0] == REPRODUCED


def test_each_target_stands_for_itself_where_places_name_it():
    by = Axis("target", "{}")
    judge = Everywhere(
        pairs=[(METHOD, RIVAL)],
        holds=Relation("within 5 points", lambda gain: abs(gain) <= 5),
        by=by,
        expected=("A", "B"),
    )
    rows = [
        accuracy(value, **line.where, settings={"target": target})
        for line, values in ((METHOD, (0.45, 0.551)), (RIVAL, (0.5, 0.5)))
        for target, value in zip("AB", values, strict=True)
    ]
    assert judged(judge, rows) == (
        PARTLY,
        "within 5 points at 1 of 2; A: 45.0 against 50.0, B: 55.1 against 50.0 %",
    )
    only_a = [row for row in rows if row.settings["target"] == "A"]
    assert judged(judge, only_a)[0] == PARTLY


def test_a_mean_over_targets_leaves_out_points_that_lack_one():
    rows = [
        accuracy(0.9, **METHOD.where, epsilon=epsilon, settings={"target": target})
        for epsilon, targets in ((0.1, "AB"), (0.2, "A"))
        for target in targets
    ]
    assert list(Evidence(rows, {}).series(METHOD)) == [("fgsm", 0.1)]


# -- MeanGain -------------------------------------------------------------------------------------

gain = MeanGain(line=METHOD, others=[RIVAL, OTHER], least=10)


@pytest.mark.parametrize(
    ("value", "verdict"), [(0.6, REPRODUCED), (0.59, PARTLY), (0.49, NOT), (0.5, NOT)]
)
def test_mean_gain_is_judged_by_the_better_rival(value, verdict):
    rows = [
        *curve(METHOD, (value - 0.1, value, value + 0.1)),
        *curve(RIVAL, (0.5, 0.5, 0.5)),
        *curve(OTHER, (0.2, 0.2, 0.2)),
    ]
    found, words = judged(gain, rows)
    assert found == verdict
    mean = round(100 * (value - 0.5))
    assert words.startswith(f"{mean:+.1f} points ({mean - 10:+.1f} to {mean + 10:+.1f}) over rival")


def test_a_rival_that_is_not_measured_leaves_a_gain_partly():
    verdict, words = judged(gain, curve(METHOD, (0.9,) * 3) + curve(RIVAL, (0.5,) * 3))
    assert (verdict, words.split("; ")[1]) == (PARTLY, "not measured against other")
    assert judged(gain, curve(METHOD, (0.9,) * 3)) == (MISSING, "no rows")


def test_lines_beside_a_gain_do_not_make_it_measured():
    judge = MeanGain(line=METHOD, others=[RIVAL], least=1, beside=[OTHER])
    verdict, words = judged(judge, curve(METHOD, (0.9,) * 3) + curve(OTHER, (0.5,) * 3))
    assert verdict == MISSING
    assert words == (
        "not measured against rival; +40.0 points (+40.0 to +40.0) over other, above at 3 of 3, 3 "
        "beyond the 95 % interval"
    )


def test_a_gain_needs_the_attacks_that_it_is_made_of():
    judge = dataclasses.replace(gain, others=[RIVAL], expected=("fgsm", "bim"))
    rows = curve(METHOD, (0.9,) * 3) + curve(RIVAL, (0.5,) * 3)
    assert judged(judge, rows)[0] == PARTLY
    rows += curve(METHOD, (0.9,) * 3, "bim") + curve(RIVAL, (0.5,) * 3, "bim")
    assert judged(judge, rows)[0] == REPRODUCED


def test_fewer_images_on_one_side_are_named():
    rows = curve(METHOD, (0.9,) * 3) + curve(RIVAL, (0.5,) * 3, images=100)
    words = judged(MeanGain(line=METHOD, others=[RIVAL], least=1), rows)[1]
    assert "over rival (1,000 images against 100)" in words


# -- Best -----------------------------------------------------------------------------------------

best = Best(line=METHOD, others=[RIVAL, OTHER], expected=(("fgsm",), ("pgd",)))


def compared(method, rival, attack: str):
    return [
        row
        for line, values in ((METHOD, method), (RIVAL, rival), (OTHER, (0.1,) * 3))
        for row in curve(line, values, attack)
    ]


@pytest.mark.parametrize(
    ("fgsm", "pgd", "verdict"),
    [(0.6, 0.6, REPRODUCED), (0.6, 0.5, PARTLY), (0.4, 0.5, NOT)],
)
def test_best_in_every_group(fgsm, pgd, verdict):
    rows = compared((fgsm,) * 3, (0.5,) * 3, "fgsm") + compared((pgd,) * 3, (0.5,) * 3, "pgd")
    count = (fgsm > 0.5) + (pgd > 0.5)
    assert judged(best, rows) == (
        verdict,
        f"the best at {count} of 2; accuracy (%): FGSM {100 * fgsm:.1f} (rival 50.0), PGD "
        f"{100 * pgd:.1f} (rival 50.0)",
    )


def test_best_needs_every_group_and_every_rival():
    fgsm = compared((0.6,) * 3, (0.5,) * 3, "fgsm")
    assert judged(best, fgsm)[0] == PARTLY
    pgd = [row for row in compared((0.6,) * 3, (0.5,) * 3, "pgd") if row.defense != "defense_gan"]
    assert judged(best, fgsm + pgd)[0] == PARTLY
    assert judged(best, curve(METHOD, (0.6,) * 3)) == (MISSING, "no rows")


def test_lines_are_compared_where_all_were_measured():
    rows = compared((0.9, 0.1, 0.1), (0.5, 0.5, 0.5), "fgsm")
    assert judged(best, rows)[1].endswith("FGSM 36.7 (rival 50.0)")
    cut = [row for row in rows if not (row.defense == "defense_gan" and row.epsilon > 0.1)]
    assert judged(best, cut)[1].endswith("FGSM 90.0 (rival 50.0)")


def test_clean_images_are_the_first_point_of_every_group():
    flattest = Best(
        line=METHOD,
        others=[RIVAL],
        score=lambda found: 100 * (found[-1].value - found[0].value),
        words="change",
    )
    rows = [
        *(clean(0.4, **METHOD.where), *curve(METHOD, (0.3, 0.3, 0.3))),
        *(clean(0.9, **RIVAL.where), *curve(RIVAL, (0.8, 0.7, 0.6))),
    ]
    assert judged(flattest, rows) == (
        REPRODUCED,
        "the best at 1 of 1; change: FGSM -10.0 (rival -30.0)",
    )


@pytest.mark.parametrize(
    ("wins", "verdict"), [(4, REPRODUCED), (3, PARTLY), (2, PARTLY), (1, NOT), (0, NOT)]
)
def test_best_at_most_lines_beats_chance_in_part(wins, verdict):
    third = Line("third", {"defense": "magnet"})
    judge = Best(line=METHOD, others=[RIVAL, OTHER, third], along=(), most=True)
    attacks = ("fgsm", "bim", "pgd", "mi_fgsm", "rand_fgsm", "carlini_wagner")
    rows = [
        accuracy(0.6 if line is METHOD and i < wins else 0.5, **line.where, attack=attack)
        for line in (METHOD, RIVAL, OTHER, third)
        for i, attack in enumerate(attacks)
    ]
    assert judged(judge, rows)[0] == verdict


@pytest.mark.parametrize(
    ("value", "near", "far"), [(0.6, REPRODUCED, REPRODUCED), (0.57, PARTLY, NOT), (0.5, NOT, NOT)]
)
def test_second_within_the_interval_is_partly_where_that_is_enough(value, near, far):
    rows = [accuracy(value, **METHOD.where), accuracy(0.59, **RIVAL.where)]
    judge = Best(line=METHOD, others=[RIVAL], along=(), near=True)
    assert judged(judge, rows)[0] == near
    assert judged(dataclasses.replace(judge, near=False), rows)[0] == far


def test_the_best_without_the_rival_that_matters_is_so_in_part():
    rows = [accuracy(0.8, **METHOD.where), accuracy(0.5, **RIVAL.where)]
    third = Line("a third", {"defense": "magnet"})
    judge = Best(line=METHOD, others=[RIVAL, third], along=(), needed=third)
    verdict, words = judged(judge, rows)
    assert (verdict, words.split("; ")[-1]) == (PARTLY, "a third was not measured")
    verdict, words = judged(judge, [*rows, accuracy(0.6, **third.where)])
    assert verdict == REPRODUCED and "not measured" not in words


@pytest.mark.parametrize(
    ("values", "verdict", "words"),
    [
        ((0.58, 0.7), REPRODUCED, "the best at 1 of 1, undecided at 1; "),
        ((0.62, 0.5), NOT, "the best at 0 of 1, undecided at 1; "),
        ((0.62, 0.58), MISSING, "the best at 0 of 0, undecided at 2; "),
        ((0.7, 0.5), PARTLY, "the best at 1 of 2; "),
    ],
)
def test_a_tie_decides_nothing_where_the_judge_says_so(values, verdict, words):
    # Half widths of 3.0: a difference of 4.3 decides.
    rows = [
        accuracy(value, **line.where, attack=attack)
        for line, found in ((METHOD, values), (RIVAL, (0.6, 0.6)))
        for attack, value in zip(("fgsm", "pgd"), found, strict=True)
    ]
    judge = Best(line=METHOD, others=[RIVAL], along=(), ties=True)
    found = judged(judge, rows)
    # A place that has to be there is not, if it is undecided.
    judge = dataclasses.replace(judge, expected=(("fgsm",), ("pgd",)))
    assert found[0] != REPRODUCED or judged(judge, rows)[0] == PARTLY
    assert found[0] == verdict and found[1].startswith(words)


@pytest.mark.parametrize(
    ("method", "slow", "verdict", "words"),
    [
        (0.5, 5.0, REPRODUCED, "FGSM 60.0 (2 steps 50.0)"),
        (0.5, 1.0, NOT, "FGSM 60.0 (9 steps 90.0)"),
        (2.0, 5.0, NOT, "FGSM too late (2 steps 50.0)"),
    ],
)
def test_lines_beyond_a_limit_are_out_of_the_comparison(method, slow, verdict, words):
    def search(steps):
        return {"defense": "defense_gan", "settings": {"target": "A", "steps": steps}}

    rows = [
        accuracy(0.6, **METHOD.where),
        accuracy(0.5, **search(2)),
        accuracy(0.9, **search(9)),
        number(method, **METHOD.where, metric="seconds", **CLEAN),
        number(1.0, **search(2), metric="seconds", **CLEAN),
        number(slow, **search(9), metric="seconds", **CLEAN),
    ]
    judge = Best(
        line=METHOD,
        others=[Axis("steps", "{} steps", where={"defense": "defense_gan"})],
        along=(),
        within=({"metric": "seconds"}, 1.0),
    )
    found = judged(judge, rows, {"metric": "accuracy"})
    assert found[0] == verdict and found[1].endswith(words)


# -- Level, Ratio, Order --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "verdict"), [(0.91, REPRODUCED), (0.9, REPRODUCED), (0.86, PARTLY), (0.85, NOT)]
)
def test_level(value, verdict):
    rows = [clean(value, **METHOD.where), clean(0.88, **RIVAL.where)]
    found, words = judged(Level(line=METHOD, reference=91, beside=[RIVAL]), rows)
    assert found == verdict
    assert words.startswith(f"{100 * value:.1f} % against 91.0 % (printed): {91 - 100 * value:.1f}")
    assert words.endswith("points lost; others: rival 3.0")
    bare = [clean(0.91, **OTHER.where), clean(value, **METHOD.where)]
    found, words = judged(Level(line=METHOD, reference=OTHER), bare)
    assert found == verdict and "against 91.0 % (other)" in words
    assert judged(Level(line=METHOD, reference=OTHER), bare[1:]) == (MISSING, "no rows")


@pytest.mark.parametrize(
    ("value", "rival", "verdict"),
    [(0.90, 0.89, REPRODUCED), (0.90, 0.905, PARTLY), (0.88, 0.87, PARTLY), (0.88, 0.9, NOT)],
)
def test_level_of_the_least_loss(value, rival, verdict):
    rows = [clean(0.91, **OTHER.where), clean(value, **METHOD.where), clean(rival, **RIVAL.where)]
    judge = Level(line=METHOD, reference=OTHER, beside=[RIVAL], least=True)
    assert judged(judge, rows)[0] == verdict
    assert judged(judge, rows[:2])[0] == (PARTLY if value == 0.90 else NOT)


@pytest.mark.parametrize(
    ("over", "verdict"),
    [(20, REPRODUCED), (5, REPRODUCED), (20.1, PARTLY), (1, PARTLY), (100, PARTLY), (101, NOT)],
)
def test_ratio(over, verdict):
    rows = [number(over, **METHOD.where), number(1.0, **RIVAL.where)]
    judge = Ratio(over=METHOD, under=RIVAL, printed=10, unit="s")
    found, words = judged(judge, rows)
    assert found == verdict
    assert words == f"{over:.3g} times: {over:.3g} (method) against 1 s (rival)"
    assert judged(judge, rows[:1]) == (MISSING, "no rows")


@pytest.mark.parametrize(
    ("values", "verdict", "pairs"),
    [
        ((1, 2, 3), REPRODUCED, 3),
        ((1, 3, 2), PARTLY, 2),
        ((3, 1, 2), NOT, 1),
        ((1, 1, 2), PARTLY, 2),
    ],
)
def test_order(values, verdict, pairs):
    lines = (METHOD, RIVAL, OTHER)
    rows = [number(v, **line.where, **CLEAN) for line, v in zip(lines, values, strict=True)]
    judge = Order(lines=lines, partly=2)
    found, words = judged(judge, rows)
    assert found == verdict and f"{pairs} of 3 pairs in order" in words


def test_order_counts_what_is_significant_and_names_what_is_missing():
    rows = [number(v, **line.where, **CLEAN) for line, v in ((METHOD, 54.0), (RIVAL, 56.8))]
    rows += [
        number(1.0, **line.where, **CLEAN, metric="l2_standard_error") for line in (METHOD, RIVAL)
    ]
    verdict, words = judged(Order(lines=(METHOD, RIVAL, OTHER), partly=2), rows, {"metric": "l2"})
    assert verdict == MISSING
    # Two errors of the difference are 2.83.
    assert words == (
        "method 54.0 < rival 56.8; 1 of 1 pairs in order, 0 by more than two standard errors; "
        "other not measured"
    )


# -- Who may say what -----------------------------------------------------------------------------


def claim(**changes) -> claims.Claim:
    fields = {
        "id": "above",
        "heading": "Chapter 1",
        "text": "It is above.",
        "says": "above 50 % (1.2)",
        "where": {"metric": "accuracy", "attack": "fgsm"},
        "judge": above_half,
        "datasets": ("cifar10", "mnist"),
        "needs": "full width",
        "reason": "a level.",
    }
    return claims.Claim(**{**fields, **changes})


ROWS = curve(METHOD, (0.6, 0.6, 0.6))


@pytest.mark.parametrize(
    ("needs", "bears", "verdict"),
    [
        ("full width", "full width", REPRODUCED),
        ("full width", "any size", NOT_TESTED),
        ("any size", "full width", REPRODUCED),
        ("any size", "any size", REPRODUCED),
    ],
)
def test_a_profile_judges_what_it_can_bear(needs, bears, verdict):
    measured, missing = claims.judge_claims([claim(needs=needs)], ROWS, bears)
    assert (measured.id, measured.verdict) == ("above/cifar10", verdict)
    assert measured.measured.startswith("above at 3 of 3")
    assert (missing.id, missing.verdict) == ("above/mnist", MISSING)


def test_a_profile_that_bears_nothing_judges_nothing():
    assert claims.judge_claims([claim(needs="any size")], ROWS, "nothing") == []
    with pytest.raises(ValueError, match="bears"):
        claims.judge_claims([claim()], ROWS, "everything")


def test_a_limited_claim_is_not_reproduced_whatever_the_rows():
    limited = claim(at_most="partly", limit="one ratio was tried")
    (one, _) = claims.judge_claims([limited], ROWS, "full width")
    assert one.verdict == PARTLY
    assert one.measured.endswith("; partly at most: one ratio was tried")
    worse = curve(METHOD, (0.1, 0.1, 0.1))
    (one, _) = claims.judge_claims([limited], worse, "full width")
    assert one.verdict == NOT and "at most" not in one.measured


@pytest.mark.parametrize(
    "changes",
    [
        {"needs": "half width"},
        {"reason": ""},
        {"at_most": "partly"},
        {"limit": "why"},
        {"at_most": "hardly", "limit": "why"},
    ],
)
def test_a_claim_says_what_it_needs_and_why(changes):
    with pytest.raises(ValueError, match="'above'"):
        claim(**changes)


@pytest.mark.parametrize(("equal", "said"), [(3, "at 3 of 3"), (2, "at 2 of 3"), (1, "")])
def test_a_decider_that_equals_another_is_said_to(equal, said):
    values = [0.6 if i < equal else 0.5 for i in range(3)]
    (one, _) = claims.judge_claims(
        [claim(same=((METHOD, RIVAL),))], ROWS + curve(RIVAL, values), "full width"
    )
    assert one.verdict == REPRODUCED
    assert ("; method and rival are equal" in one.measured) == bool(said)
    assert one.measured.endswith(said)


def test_judge_and_words_may_differ_between_data_sets():
    level = Everywhere(pairs=[(METHOD, 70)], holds=ABOVE)
    both = claim(
        judge={"cifar10": above_half, "mnist": level}, says={"cifar10": "50", "mnist": "70"}
    )
    rows = ROWS + curve(METHOD, (0.6,) * 3, dataset="mnist")
    judged_ = claims.judge_claims([both], rows, "full width")
    assert [one.verdict for one in judged_] == [REPRODUCED, NOT]
    assert "| It is above. | MNIST | 70 | above at 0 of 3" in claims.claims_table(judged_)


def test_claims_table_has_a_table_under_each_heading_that_was_measured():
    second = claim(id="other", heading="Chapter 2", where={"attack": "pgd"})
    third = claim(id="third", heading="Paper", author="the authors", datasets=("cifar10",))
    table = claims.claims_table(claims.judge_claims([claim(), second, third], ROWS, "any size"))
    assert table.splitlines()[:3] == [
        "**Chapter 1**",
        "",
        "| claim | data set | the paper | measured | verdict |",
    ]
    assert "Chapter 2" not in table
    assert "| claim | data set | the authors | measured | verdict |" in table
    assert table.count("**not tested at this size**") == 2
    assert "| It is above. | MNIST | above 50 % (1.2) | no rows | **not measured** |" in table


def test_needs_table():
    assert claims.needs_table([claim()]).splitlines()[2] == (
        "| It is above. | full width | a level. |"
    )


# -- The declared claims --------------------------------------------------------------------------


def test_every_claim_is_declared_once_with_what_it_needs_and_why():
    ids = [f"{one.id}/{dataset}" for one in catalog.CLAIMS for dataset in one.datasets]
    assert len(ids) == len(set(ids)) == 94
    for one in catalog.CLAIMS:
        assert one.needs in (claims.ANY_SIZE, claims.FULL_WIDTH)
        assert one.reason.endswith(".") and one.text.endswith(".")
        if not isinstance(one.judge, judges.Judge):
            assert set(one.judge) == set(one.datasets)
        if not isinstance(one.says, str):
            assert set(one.datasets) <= set(one.says)


def test_levels_and_gains_in_points_need_the_full_width():
    for one in catalog.CLAIMS:
        found = one.judge if isinstance(one.judge, judges.Judge) else one.judge[one.datasets[0]]
        level = isinstance(found, Everywhere) and any(
            not isinstance(other, Line) for _, other in found.pairs
        )
        if level or isinstance(found, (MeanGain, Level, Ratio)):
            assert one.needs == claims.FULL_WIDTH, one.id


#: Of each claim on the committed rows: the verdict at full width, and what ``quick`` may say.
VERDICTS = """
sfl_lowers_l2/cifar10: not reproduced; not tested at this size
sfl_lowers_l2/fashion_mnist: not measured; the same
gain_over_baselines/cifar10: not reproduced; not tested at this size
gain_over_baselines/fashion_mnist: not reproduced; not tested at this size
gain_over_baselines/vote/cifar10: not reproduced; not tested at this size
gain_over_baselines/vote/fashion_mnist: not reproduced; not tested at this size
voting_gain/vote/cifar10: partly; not tested at this size
voting_gain/vote/fashion_mnist: partly; not tested at this size
voting_gain/vote_bayes/cifar10: partly; not tested at this size
voting_gain/vote_bayes/fashion_mnist: partly; not tested at this size
floor/fashion_mnist: not reproduced; not tested at this size
clean_accuracy/cifar10: not reproduced; not tested at this size
clean_accuracy/fashion_mnist: not reproduced; not tested at this size
framework_attack_hurts/cifar10: partly; the same
framework_attack_hurts/fashion_mnist: partly; the same
framework_gain/cifar10: not reproduced; not tested at this size
framework_gain/fashion_mnist: partly; not tested at this size
framework_gain/vote/cifar10: not reproduced; not tested at this size
framework_gain/vote/fashion_mnist: partly; not tested at this size
cyclegan_over_baselines/cifar10: not reproduced; not tested at this size
cyclegan_over_baselines/vote/cifar10: not reproduced; not tested at this size
cyclegan_over_sfl_vae/cifar10: not reproduced; not tested at this size
cyclegan_over_sfl_vae/vote/cifar10: not reproduced; not tested at this size
cyclegan_voting_gain/cifar10: not reproduced; not tested at this size
cyclegan_voting_gain/fashion_mnist: not reproduced; not tested at this size
cyclegan_voting_gain/vote/cifar10: partly; not tested at this size
cyclegan_voting_gain/vote/fashion_mnist: partly; not tested at this size
cyclegan_clean_accuracy/cifar10: not reproduced; not tested at this size
cyclegan_clean_accuracy/fashion_mnist: partly; not tested at this size
reconstruction_order/cifar10: reproduced; not tested at this size
concatenation_order/cifar10: reproduced; the same
cyclegan_floor/cifar10: not reproduced; not tested at this size
cyclegan_floor/fashion_mnist: not reproduced; not tested at this size
vqunet_clean_loss/cifar10: not reproduced; not tested at this size
vqunet_clean_loss/fashion_mnist: not reproduced; not tested at this size
vqunet_flattest/cifar10: not reproduced; not tested at this size
vqunet_flattest/fashion_mnist: not reproduced; not tested at this size
vqunet_highest/cifar10: not reproduced; not tested at this size
vqunet_highest/fashion_mnist: not reproduced; not tested at this size
undefended_below/cifar10: partly; not tested at this size
undefended_below/fashion_mnist: partly; not tested at this size
vqunet_floor/fashion_mnist: not reproduced; not tested at this size
vqunet_nearer/cifar10: not reproduced; not tested at this size
vqunet_nearer/fashion_mnist: partly; not tested at this size
vqunet_features/absolute/cifar10: partly; the same
vqunet_features/absolute/fashion_mnist: partly; the same
vqunet_features/relative/cifar10: partly; the same
vqunet_features/relative/fashion_mnist: partly; the same
vqunet_features/relative to their spread over images/cifar10: not reproduced; the same
vqunet_features/relative to their spread over images/fashion_mnist: partly; the same
quantised_features/absolute/cifar10: reproduced; the same
quantised_features/absolute/fashion_mnist: reproduced; the same
quantised_features/relative/cifar10: reproduced; the same
quantised_features/relative/fashion_mnist: reproduced; the same
quantised_features/relative to their spread over images/cifar10: partly; the same
quantised_features/relative to their spread over images/fashion_mnist: partly; the same
deeper_changes_less/feature_change/pre/cifar10: reproduced; the same
deeper_changes_less/feature_change/pre/fashion_mnist: partly; the same
deeper_changes_less/feature_change/post/cifar10: reproduced; the same
deeper_changes_less/feature_change/post/fashion_mnist: reproduced; the same
deeper_changes_less/feature_change_spread/pre/cifar10: not reproduced; the same
deeper_changes_less/feature_change_spread/pre/fashion_mnist: not reproduced; the same
deeper_changes_less/feature_change_spread/post/cifar10: partly; the same
deeper_changes_less/feature_change_spread/post/fashion_mnist: partly; the same
deeper_changes_less/index_change/cifar10: partly; the same
deeper_changes_less/index_change/fashion_mnist: reproduced; the same
puvae_best_weights/mnist: partly; the same
puvae_above_magnet/mnist: not reproduced; not tested at this size
puvae_near_defense_gan/mnist: not reproduced; not tested at this size
adversarial_training_weak_to_cw/mnist: not reproduced; not tested at this size
puvae_best_iterative/fashion_mnist: not reproduced; not tested at this size
puvae_all_low/cifar10: reproduced; not tested at this size
puvae_mostly_best/cifar10: not reproduced; not tested at this size
puvae_black_box/fashion_mnist: partly; not tested at this size
knowing_puvae_hardly_helps/mnist: not reproduced; not tested at this size
knowing_puvae_hardly_helps/fashion_mnist: not reproduced; not tested at this size
knowing_puvae_hardly_helps/cifar10: not reproduced; not tested at this size
puvae_faster_than_defense_gan/mnist: reproduced; not tested at this size
puvae_slower_than_magnet/mnist: not reproduced; not tested at this size
puvae_ahead_within_limit/mnist: not reproduced; not tested at this size
features_hold_where_pixels_fall/cifar10: not measured; the same
bpda_breaks_pixels/cifar10: not measured; the same
only_adversarial_training_keeps/cifar10: not measured; the same
adversarial_training_best_end_to_end/cifar10: not measured; the same
cap_gan_above_purifiers_end_to_end/cifar10: not measured; the same
cap_gan_best_under_queries/cifar10: not measured; the same
cap_gan_best_transfer/cifar10: not measured; the same
thermometer_weak_to_iterations/cifar10: not measured; the same
published_parameters_best/cifar10: not measured; the same
bpda_falls_with_alpha/cifar10: not measured; the same
semantics_needed/cifar10: not measured; the same
attention_alone_lowers/cifar10: not measured; the same
cycles_help/cifar10: not measured; the same
attacks_break_features_not_pixels/cifar10: not measured; the same
"""
RECORDED = {
    name: verdicts.split("; ")
    for name, _, verdicts in (line.partition(": ") for line in VERDICTS.strip().splitlines())
}


@pytest.fixture(scope="module")
def committed():
    return RowStore("results", "quick").read()


def test_verdicts_on_the_committed_rows(committed):
    full = claims.judge_claims(catalog.CLAIMS, committed, "full width")
    assert {one.id: one.verdict for one in full} == {
        name: verdict for name, (verdict, _) in RECORDED.items()
    }


def test_what_the_committed_profile_may_say(committed):
    small = claims.judge_claims(catalog.CLAIMS, committed, "any size")
    assert {one.id: one.verdict for one in small} == {
        name: verdict if said == "the same" else said for name, (verdict, said) in RECORDED.items()
    }
    assert sum(one.verdict == NOT_TESTED for one in small) == 53


def test_where_the_update_never_decides_the_claim_says_so(committed):
    found = {one.id: one for one in claims.judge_claims(catalog.CLAIMS, committed, "any size")}
    same = "; Defense-CycleGAN, vote + Bayes and Defense-CycleGAN + target are equal at 21 of 21"
    assert same in found["cyclegan_voting_gain/fashion_mnist"].measured
    assert "are equal" not in found["cyclegan_voting_gain/cifar10"].measured
