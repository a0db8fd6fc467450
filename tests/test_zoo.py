"""The published models: a run takes those of its own recipe, so a change of recipe is seen here."""

from __future__ import annotations

import json

import pytest

from experiments import datasets, presets, reproducibility, zoo
from experiments.artifacts import ArtifactStore
from experiments.deciders import POOLED
from experiments.training import TrainedModels


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
    recipes = {name: demo.purifier_recipe(name) for name in purifiers}
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
    published = set(zoo.names("digits"))
    assert set(recipes) <= published <= set(recipes) | (set(retrained) - set(plan.unpublished))
    for name in published:
        card = json.loads((zoo.ZOO / "digits" / f"{name}.json").read_text())
        recipe = (recipes | retrained)[name]
        assert card["recipe_hash"] == reproducibility.stable_hash(recipe), name
