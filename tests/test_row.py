"""A row: its identity, its settings, and what it refuses."""

from __future__ import annotations

import pytest

from results.exhibit import DATASET_LABELS, THREAT_LABELS
from results.row import (
    COLUMNS,
    DATASETS,
    METRICS,
    THREAT_MODELS,
    settings_from_text,
    settings_text,
    typed,
)
from tests.made_rows import CLEAN, clean, number, row


def test_columns_are_the_published_ones():
    assert ",".join(COLUMNS) == (
        "dataset,defense,decider,attack,norm,epsilon,threat_model,metric,value,correct,total,seed,"
        "settings,flags,config_hash,seconds"
    )


def test_the_identity_is_what_was_measured():
    plain = row(settings={"target": "A", "voters": 3})
    same = row(
        settings={"voters": 3, "target": "A"},
        value=0.5,
        correct=500,
        seconds=9.0,
        flags=("unreliable",),
        config_hash="other",
    )
    assert plain.place == same.place
    for change in (
        {"dataset": "digits"},
        {"defense": "non_sfl_vae"},
        {"decider": "vote_bayes"},
        {"attack": "pgd"},
        {"norm": "l2"},
        {"epsilon": 0.2},
        {"threat_model": "framework"},
        {"metric": "overlap_wrong"},
        {"seed": 1},
        {"settings": {"target": "B", "voters": 3}},
    ):
        assert row(**{"settings": {"target": "A", "voters": 3}, **change}).place != plain.place


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("True", True),
        ("False", False),
        (True, True),
        ("0.10", 0.1),
        ("3.0", 3),
        (3.0, 3),
        ("1e-3", 0.001),
        ("-2", -2),
        ("heldout", "heldout"),
        ("puvae_a", "puvae_a"),
        ("8/255", "8/255"),
        ("1_0", "1_0"),
    ],
)
def test_settings_are_typed(given, expected):
    found = typed(given)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("given", ["", "two words", "a=b", "a;b", None, float("nan"), [1]])
def test_what_is_no_single_setting_is_refused(given):
    with pytest.raises(ValueError, match="Expected a setting to be"):
        typed(given)


def test_settings_have_one_spelling():
    settings = {"voters": 6.0, "target": "A", "retrained": "True", "kl_weight": "0.030"}
    made = row(settings=settings)
    assert made.settings == {"kl_weight": 0.03, "retrained": True, "target": "A", "voters": 6}
    text = "kl_weight=0.03;retrained=True;target=A;voters=6"
    assert settings_text(made.settings) == made.place.settings == text
    assert settings_from_text(text) == made.settings
    assert settings_from_text("") == {}


@pytest.mark.parametrize(
    "text", ["voters=6;target=A", "voters=6.0", "voters=06", "kl_weight=1e-1", "target=A;", "A"]
)
def test_another_spelling_is_refused(text):
    with pytest.raises(ValueError, match="Expected"):
        settings_from_text(text)


def test_flags_are_sorted_words_and_no_text():
    assert row(flags=("unreliable", "undefined", "unreliable")).flags == ("undefined", "unreliable")
    with pytest.raises(ValueError, match="received the str 'unreliable'"):
        row(flags="unreliable")
    with pytest.raises(ValueError, match="flags to be words"):
        row(flags=("target=A",))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": 80.0, "correct": None, "total": None}, "Divide percentages by 100"),
        ({"value": 0.7}, "correct / total"),
        ({"value": 0.333333, "correct": 1, "total": 4}, "correct / total"),
        ({"correct": 1001, "value": 1.0}, "correct of a row to be .* at most 1000"),
        ({"correct": 0, "total": 0, "value": 0.0}, "total of a row .* at least 1"),
        ({"total": None}, "together or neither"),
        ({"value": float("nan"), "metric": "l2"}, "finite"),
        ({"value": "much"}, "value of a row to be a finite number"),
        ({"value": "0.8"}, "value of a row to be a finite number"),
        ({"value": None}, "value of a row to be a finite number"),
        ({"value": -0.5, "metric": "l2"}, "value of a row .* at least 0"),
        ({"value": 1.5, "metric": "recovery_rate"}, "recovery_rate as a fraction"),
        ({"epsilon": True}, "epsilon of a row to be a finite number"),
        ({"epsilon": 8.0}, r"epsilon in \[0, 1\] in the norm linf, .* divide .* by 255"),
        ({"epsilon": -0.1}, "epsilon"),
        ({"seconds": -1.0}, "seconds"),
        ({"dataset": ""}, "dataset of a row to be one of mnist, .*digits"),
        ({"dataset": "cifar11"}, "dataset of a row to be one of mnist, .*received 'cifar11'"),
        ({"dataset": ["mnist"]}, "dataset of a row to be one of"),
        ({"decider": "the vote"}, "decider of a row to be one of none, target"),
        ({"threat_model": "oblivius"}, "threat_model of a row to be one of none, oblivious"),
        ({"norm": "linff"}, "norm of a row to be one of"),
        ({"metric": "acuracy"}, "metric of a row to be one of accuracy"),
        ({"defense": "sfl vae"}, "defense to be a word"),
        ({"attack": 3}, "attack to be a word"),
        ({"config_hash": "a,b"}, "config_hash to be a word"),
        ({"seed": 1.5}, "seed of a row to be an integer"),
        ({"seed": None}, "seed of a row to be an integer"),
        ({"seed": 2**32}, "seed of a row to be an integer"),
        ({"correct": "800"}, "correct of a row to be an integer"),
        ({"settings": None}, "settings as a mapping"),
        ({"settings": {1: 2}}, "words and no columns"),
        ({"settings": {"voters": "1_0"}}, "setting voters to be an integer"),
        ({"settings": {"draws": 0}}, "setting draws to be an integer of at least 1"),
        ({"flags": None}, "several flags"),
        ({"flags": (1,)}, "flags to be words"),
        ({"settings": {"seed": 1}}, "words and no columns"),
        ({"settings": {"two words": 1}}, "words and no columns"),
        ({**CLEAN, "epsilon": 0.1}, "clean images"),
        ({**CLEAN, "norm": "linf"}, "clean images"),
        ({**CLEAN, "threat_model": "oblivious"}, "clean images"),
        ({"epsilon": 0.0}, "clean images"),
        ({"threat_model": "none"}, "clean images"),
    ],
)
def test_contradictory_rows_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        row(**changes)


def test_an_accuracy_is_its_counts_to_the_last_bit():
    assert row(value=0.333333, correct=1, total=3).value == 1 / 3


def test_every_known_word_makes_a_row():
    for dataset in DATASETS:
        assert row(dataset=dataset).dataset == dataset
    for metric in METRICS:
        found = number(0.5, metric=metric) if metric != "accuracy" else row()
        assert found.metric == metric
    assert set(THREAT_LABELS) == {*THREAT_MODELS} - {"none"}
    assert set(DATASET_LABELS) == set(DATASETS)


def test_distinct_images_undo_the_pooling():
    assert row().distinct_images == 1000
    assert row(decider="mean_voter", settings={"voters": 4}).distinct_images == 250
    assert row(settings={"voters": 4}).distinct_images == 1000
    assert row(settings={"voters": 4, "draws": 2}).distinct_images == 500
    pooled = row(decider="mean_voter", settings={"voters": 4, "draws": 2})
    assert pooled.distinct_images == 125
    assert row(settings={"images": 77}).distinct_images == 77
    assert number(3.0).distinct_images is None


def test_fields_and_settings_are_asked_alike():
    made = row(settings={"target": "B", "drawn": 3})
    assert (made.get("attack"), made.get("drawn"), made.get("target")) == ("fgsm", 3, "B")
    assert made.get("voters") is None
    assert clean(0.5).get("epsilon") == 0
