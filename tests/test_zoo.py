"""The zoo: models as files with cards, of which a run takes those of its own recipe."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from experiments import datasets, presets, reproducibility, zoo
from experiments.artifacts import ArtifactStore
from experiments.measure import Study
from experiments.publishing import publish
from experiments.training import TrainedModels
from results.store import RowStore
from tests.made_rows import CLEAN, accuracy, number
from tests.tiny_profile import puvae_profile, study_of, tiny_run

POOLED = ("sfl_vae", "defense_cyclegan")
TRAINED = {"magnet", "puvae", "target_puvae_a", "target_puvae_b"}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """What the demo trains, before anything is trained."""
    plan = presets.profile("demo").plans["digits"]
    store = ArtifactStore(tmp_path_factory.mktemp("demo"))
    return TrainedModels(plan, datasets.load(plan.dataset), store, 0)


def test_the_demo_finds_its_purifiers_classifiers_and_voters_published(demo):
    """Publish with ``run_all.py --train`` where this fails after a change of the demo."""
    plan = demo.plan
    purifiers = [name for name in plan.purifiers if name not in plan.unpublished]
    recipes = {name: demo.purifier_recipe(name) for name in (*purifiers, *plan.variants)}
    recipes |= {f"target_{name}": demo.target_recipe(name) for name in plan.classifiers}
    recipes |= {
        f"{name}_voter_{index}": demo.voter_recipe(name, index)
        for name in POOLED
        for index in range(len(plan.pool(name)))
    }
    retrained = {
        f"{name}_retrained_{target}": demo.retrained_recipe(name, target)
        for name in purifiers
        for target in plan.retrained
    }
    substitutes = [name for name in zoo.names("digits") if name.startswith("substitute_of_")]
    assert substitutes == ["substitute_of_puvae_a", "substitute_of_puvae_b"]
    recipes |= {
        name: demo.substitute_recipe(name.removeprefix("substitute_of_")) for name in substitutes
    }
    published = set(zoo.names("digits"))
    wanted = set(recipes) - set(plan.unpublished)
    assert wanted <= published <= wanted | (set(retrained) - set(plan.unpublished))
    for name in published:
        card = json.loads((zoo.ZOO / "digits" / f"{name}.json").read_text())
        recipe = (recipes | retrained)[name]
        assert card["recipe_hash"] == reproducibility.stable_hash(recipe), name


# -- on tiny models -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory, uncompiled) -> Study:
    """Two purifiers and two targets that were trained; nothing is measured."""
    study = study_of(tiny_run(tmp_path_factory.mktemp("zoo"), puvae_profile()))
    for name in ("magnet", "puvae"):
        study.models.purifier(name)
    for name in ("puvae_a", "puvae_b"):
        study.models.target(name)
    return study


@pytest.fixture(scope="module")
def published(trained, tmp_path_factory) -> Path:
    """The zoo of what was trained."""
    folder = tmp_path_factory.mktemp("published")
    assert {path.stem for path in publish(trained, folder)} == TRAINED
    return folder


def test_the_zoo_loads_what_was_trained_and_names_what_there_is(trained, published):
    loaded, own = zoo.load("digits", "puvae", published), trained.models.purifier("puvae")
    images = trained.data.test.images[:5]
    for model in (loaded, own):
        model.reset_randomness(7)
    np.testing.assert_array_equal(loaded.purify(images), own.purify(images))
    assert set(zoo.names("digits", published)) == TRAINED
    with pytest.raises(ValueError, match=r"no model 'atgan' for 'digits'.*magnet.*puvae"):
        zoo.load("digits", "atgan", published)


def test_what_a_plan_keeps_to_itself_is_not_published(trained, tmp_path):
    plan = dataclasses.replace(trained.plan, unpublished=("magnet", "target_puvae_a"))
    models = TrainedModels(plan, trained.data, trained.models.store, 0)
    written = publish(Study(trained.profile, models, trained.rows), tmp_path)
    assert {path.stem for path in written} == TRAINED - {"magnet", "target_puvae_a"}


def test_published_models_stand_in_for_training(trained, published, tmp_path, monkeypatch):
    models = TrainedModels(trained.plan, trained.data, ArtifactStore(tmp_path), 0, published)
    monkeypatch.setattr("experiments.fitting.fit", lambda *_, **__: pytest.fail("trained"))
    for expected, received in (
        (trained.models.target("puvae_a"), models.target("puvae_a")),
        (trained.models.purifier("puvae"), models.purifier("puvae")),
    ):
        assert reproducibility.weights_hash(expected) == reproducibility.weights_hash(received)
    other_seed = TrainedModels(trained.plan, trained.data, ArtifactStore(tmp_path), 1, published)
    assert zoo.find("digits", other_seed.target_recipe("puvae_a"), published) is None


def test_a_damaged_file_is_refused_and_published_anew(trained, published, tmp_path):
    folder = shutil.copytree(published, tmp_path / "zoo")
    path = folder / "digits" / "target_puvae_a.keras"
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(ValueError, match="damaged"):
        zoo.load("digits", "target_puvae_a", folder)
    with pytest.raises(ValueError, match="damaged"):
        zoo.find("digits", trained.models.target_recipe("puvae_a"), folder)
    assert publish(trained, folder) == [path]
    assert path.read_bytes() == whole


@pytest.mark.parametrize("card", ["", "[]", "{}"])
def test_a_model_without_its_card_is_refused(published, tmp_path, card):
    folder = shutil.copytree(published, tmp_path / "zoo")
    path = folder / "digits" / "magnet.json"
    path.write_text(card)
    with pytest.raises(ValueError, match=r"magnet\.json with the SHA-256 .* missing, damaged"):
        zoo.load("digits", "magnet", folder)
    path.unlink()
    with pytest.raises(ValueError, match=r"magnet\.json with the SHA-256 .* missing, damaged"):
        zoo.load("digits", "magnet", folder)


# -- cards ----------------------------------------------------------------------------------------


def of_digits(value: float, defense: str = "puvae", target: str = "puvae_b", **changes: object):
    """An accuracy of the target that `puvae` stands before."""
    settings = {"target": target, **changes.pop("settings", {})}  # type: ignore[dict-item]
    fields = {"dataset": "digits", "defense": defense, "decider": "target", **changes}
    return accuracy(value, images=40, settings=settings, **fields)


OWN = [
    of_digits(0.8, **CLEAN),
    of_digits(0.5, threat_model="adaptive", settings={"surrogate": "worst", "eot": 2}),
    of_digits(0.6, settings={"source": "puvae_a"}),
]
OTHERS = [
    # Another purifier's numbers: the one whose source is `puvae_b`.
    of_digits(0.1, target="puvae_a"),
    of_digits(0.1, defense="none"),
    # Of models with other weights of the loss, of deciders that were not attacked, of other data.
    of_digits(0.1, settings={"reconstruction": 0.1, "kl": 0.1, "cross_entropy": 10}),
    of_digits(0.1, threat_model="framework_transfer"),
    of_digits(0.1, seed=1),
    dataclasses.replace(of_digits(0.1), dataset="mnist"),
    number(3.0, dataset="digits", defense="puvae", metric="seconds", **CLEAN),
]
MAGNET = [
    of_digits(0.4, defense="magnet", target="puvae_a"),
    of_digits(0.7, defense="magnet", target="puvae_a", settings={"detectors": True}),
    of_digits(0.9, defense="magnet", target="puvae_a", settings={"retrained": True}),
    number(9.5, dataset="digits", defense="magnet", metric="l1", settings={}, **CLEAN),
]


@pytest.fixture
def cards(trained, published, tmp_path):
    """Publishes with these rows into a copy of the zoo; returns the study and the folder."""
    store = RowStore(tmp_path, "tiny")
    store.add([*OWN, *OTHERS, *MAGNET])
    study = Study(trained.profile, trained.models, store)
    folder = shutil.copytree(published, tmp_path / "zoo")
    assert publish(study, folder) == []
    return study, folder / "digits"


def test_a_card_holds_the_numbers_of_its_own_purifier(cards):
    _, folder = cards
    card = zoo.read_card(folder / "puvae.json")
    assert card["not_measured"] == ["framework", "worst of several draws"]
    assert len(card["measured"]) == len(OWN)
    by_value = {entry["value"]: entry for entry in card["measured"]}
    assert by_value[0.5] == {
        "attack": "fgsm",
        "norm": "linf",
        "epsilon": 0.1,
        "threat_model": "adaptive",
        "decider": "target",
        "metric": "accuracy",
        "settings": {"target": "puvae_b", "surrogate": "worst", "eot": 2},
        "value": 0.5,
        "images": 40,
    }
    assert by_value[0.8]["epsilon"] == 0 and not {"attack", "norm"} & set(by_value[0.8])


def test_a_card_keeps_every_setting_apart(cards):
    _, folder = cards
    card = zoo.read_card(folder / "magnet.json")
    found = {
        tuple(sorted(set(entry["settings"]) - {"target"})): entry["value"]
        for entry in card["measured"]
        if entry["metric"] == "accuracy"
    }
    assert found == {(): 0.4, ("detectors",): 0.7, ("retrained",): 0.9}
    assert [entry["value"] for entry in card["measured"] if entry["metric"] == "l1"] == [9.5]
    assert card["not_measured"] == ["framework", "adaptive"]


def test_a_card_says_what_the_model_is(trained, cards):
    _, folder = cards
    card = zoo.read_card(folder / "target_puvae_a.json")
    recipe = trained.models.target_recipe("puvae_a")
    assert card["recipe"] == reproducibility.plain(recipe)
    assert card["recipe_hash"] == reproducibility.stable_hash(recipe)
    assert (card["name"], card["dataset"], card["profile"]) == ("target_puvae_a", "digits", "tiny")
    assert card["measured"] == [] and "not_measured" not in card


def test_a_card_is_written_anew_when_more_or_the_same_otherwise_was_measured(cards):
    study, folder = cards
    path = folder / "puvae.json"
    written = path.read_text()

    def rewritten(**changes) -> bool:
        path.write_text(json.dumps({**json.loads(written), **changes}))
        before = path.read_text()
        assert publish(study, folder.parent) == []
        return path.read_text() != before

    more = [*json.loads(written)["measured"], {}]
    assert not rewritten() and not rewritten(measured=more, rows_hash="other")
    assert rewritten(rows_hash="other") and path.read_text() == written
    assert rewritten(measured=[]) and path.read_text() == written


def test_names_that_leave_the_zoo_are_refused(published):
    for name in (
        "../digits/magnet",
        "/etc/passwd",
        "",
        ".",
        "..",
        "a\\b",
        "magnet\0",
        None,
        3,
        "a/b",
    ):
        with pytest.raises(ValueError, match="Expected the name of a model to be a word"):
            zoo.load("digits", name, published)
        with pytest.raises(ValueError, match="Expected the data set of a model to be a word"):
            zoo.load(name, "magnet", published)
        with pytest.raises(ValueError, match="Expected the data set of a model to be a word"):
            zoo.names(name, published)


def test_what_the_zoo_does_not_have_is_listed(published):
    with pytest.raises(ValueError, match=r"received 'mnist'\. It has: digits"):
        zoo.names("mnist", published)
    with pytest.raises(ValueError, match=r"no model 'vqunet' for 'digits'\. There are: .*magnet"):
        zoo.load("digits", "vqunet", published)
    assert zoo.load("digits", "magnet", str(published)).image_shape == (28, 28, 1)


@pytest.mark.parametrize("sha256", [None, "", "0" * 63, 12, ["a"]])
def test_a_card_without_a_hash_is_refused(published, tmp_path, sha256):
    folder = shutil.copytree(published, tmp_path / "zoo")
    card_path = folder / "digits" / "magnet.json"
    card_path.write_text(json.dumps({**zoo.read_card(card_path), "sha256": sha256}))
    with pytest.raises(ValueError, match="without it"):
        zoo.load("digits", "magnet", folder)


def test_a_card_without_its_model_says_so(published, tmp_path):
    folder = shutil.copytree(published, tmp_path / "zoo")
    (folder / "digits" / "magnet.keras").unlink()
    with pytest.raises(ValueError, match=r"magnet\.keras beside its card magnet\.json"):
        zoo.load("digits", "magnet", folder)


def test_every_card_of_the_zoo_has_its_file_and_every_file_its_card():
    for suffix, other in ((".json", ".keras"), (".keras", ".json")):
        alone = [
            path for path in zoo.ZOO.glob(f"*/*{suffix}") if not path.with_suffix(other).is_file()
        ]
        assert alone == []
