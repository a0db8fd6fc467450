"""The whole way, on tiny data: models, sets, rows, figures, report; killed, damaged, repeated."""

from __future__ import annotations

import numpy as np
import pytest

import run_all
from benchmarks.kill_and_resume import command, killed_runs, rows_without_seconds, run_to_the_end
from experiments import catalog, presets, reproducibility, scheduler, zoo
from experiments.artifacts import ArtifactStore
from experiments.evaluation import accuracy
from experiments.listing import listing
from experiments.training import TrainedModels
from results.rows import qualifier
from tests.tiny_profile import ENTRIES, study_of, tiny_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One finished run of the tiny profile."""
    path = tmp_path_factory.mktemp("tiny")
    scheduler.measure(tiny_run(path))
    return path


def test_every_entry_has_rows_a_figure_and_a_place_in_the_report(folder):
    report = (folder / "results" / "reports" / "tiny.md").read_text()
    for name in ENTRIES:
        for ending in ("png", "pdf"):
            assert (folder / f"results/figures/tiny/{name}_digits.{ending}").stat().st_size > 5000
        assert f"{name}_digits.png" in report


def test_rows_are_consistent(folder):
    rows = tiny_run(folder).rows.read("003.F3.8")
    # 2 targets x 2 epsilons x (no defense, target, mean voter, vote, two tables)
    assert len(rows) == 24
    assert {row.classifier for row in rows} == {"A", "B", "mean_voter", "vote", "vote_bayes"}
    for row in rows:
        images = 40 if row.defense == "none" else 80
        assert row.total == images * (2 if row.classifier == "mean_voter" else 1)
    clean = [r for r in rows if r.epsilon == 0 and r.classifier == "vote"]
    assert len({r.correct for r in clean}) == 1, "the clean vote knows no target"


def test_rows_say_what_the_models_say(folder):
    run = tiny_run(folder)
    study = study_of(run)
    images = study.sets.oblivious("A", "pgd", 0.1)
    assert np.abs(images - study.data.test.images).max() <= 0.1 + 1e-6
    labels = study.models.target("A").predict(images, verbose=0).argmax(-1)
    row = next(
        r
        for r in run.rows.read("003.F3.8")
        if r.defense == "none" and r.epsilon == 0.1 and qualifier(r, "target") == "A"
    )
    assert row.correct == (labels == study.data.test.labels).sum()


def test_the_gain_in_l2_is_judged_image_by_image(folder):
    run = tiny_run(folder)
    study = study_of(run)
    attacked = study.sets.oblivious("A", "fgsm", 0.1)
    clean = study.data.test.images.astype(np.float64)
    lengths = [
        np.linalg.norm((study.purified(name, attacked) - clean).reshape(40, -1), axis=1)
        for name in ("sfl_vae", "non_sfl_vae")
    ]
    rows = [r for r in run.rows.read("003.F3.2") if r.epsilon == 0.1]
    values = {(r.defense, r.metric): r.value for r in rows}
    np.testing.assert_allclose(values["sfl_vae", "l2"], lengths[0].mean(), rtol=1e-5)
    np.testing.assert_allclose(values["non_sfl_vae", "l2"], lengths[1].mean(), rtol=1e-5)
    expected = (lengths[0] - lengths[1]).std(ddof=1) / np.sqrt(40)
    np.testing.assert_allclose(values["sfl_vae", "l2_gain_standard_error"], expected, rtol=1e-4)


def test_running_again_measures_nothing_and_repeats_no_row(folder, monkeypatch):
    before = {p: p.read_bytes() for p in (folder / "results").rglob("*") if p.is_file()}

    def forbidden(*_, **__):
        raise AssertionError("a model was asked for although every row is there")

    monkeypatch.setattr(TrainedModels, "target", forbidden)
    monkeypatch.setattr(TrainedModels, "purifier", forbidden)
    scheduler.measure(tiny_run(folder))
    after = {p: p.read_bytes() for p in (folder / "results").rglob("*") if p.is_file()}
    assert before == after


def test_figures_are_redrawn_from_rows_alone(folder, tmp_path):
    import shutil

    shutil.copytree(folder / "results" / "raw", tmp_path / "results" / "raw")
    scheduler.redraw(tiny_run(tmp_path))
    name = "results/figures/tiny/003.F3.8_digits.png"
    assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_nothing_measured_is_said_not_raised(tmp_path, capsys):
    arguments = ["--only", "001.T1", "--results-dir", str(tmp_path)]
    assert run_all.main([*arguments, "--artifacts-dir", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "not implemented yet" in text and "Nothing measured yet" in text


def test_another_seed_takes_no_figure_away(folder, tmp_path):
    import dataclasses
    import shutil

    shutil.copytree(folder / "results", tmp_path / "results")
    run = dataclasses.replace(tiny_run(tmp_path), seed=1)
    rows = [dataclasses.replace(row, seed=1) for row in run.rows.read("003.F3.8")]
    run.rows.add(rows)
    before = (tmp_path / "results/figures/tiny/003.F3.8_digits.png").read_bytes()
    scheduler.redraw(run)
    assert (tmp_path / "results/figures/tiny/003.F3.8_digits_seed1.png").is_file()
    assert (tmp_path / "results/figures/tiny/003.F3.8_digits.png").read_bytes() == before


def test_new_rows_appear_in_every_figure_that_shows_them(folder, tmp_path):
    import dataclasses
    import shutil

    shutil.copytree(folder / "results", tmp_path / "results")
    (entry,) = catalog.select(["003.F4.3"])

    def measure(study, experiment):
        rows = [row for row in study.rows.read("003.F3.8") if row.defense == "sfl_vae"]
        changes = {"experiment": experiment, "defense": "defense_cyclegan"}
        study.rows.add([dataclasses.replace(row, **changes) for row in rows])

    run = dataclasses.replace(
        tiny_run(tmp_path), entries=(dataclasses.replace(entry, run=measure),)
    )
    path = tmp_path / "results/figures/tiny/003.F3.8_digits.png"
    before = path.read_bytes()
    scheduler.measure(run)
    assert path.read_bytes() != before
    assert path.with_name("003.F4.3_digits.png").is_file()


def test_one_set_serves_every_defense(folder):
    study = study_of(tiny_run(folder))
    path = study.models.store.root / "adversarial_sets"
    # fgsm and pgd at 0.1 on A and pgd on B, one Carlini-Wagner set, one through the framework
    assert len([p for p in path.iterdir() if not p.name.startswith(".")]) == 5


def test_other_voters_change_only_what_depends_on_them(folder):
    import dataclasses

    study = study_of(tiny_run(folder))
    decision = dataclasses.replace(study.plan.decision, num_drawn=2)
    plan = dataclasses.replace(study.plan, decision=decision)
    models = TrainedModels(plan, study.data, study.models.store, 0)
    for name in "AB":
        assert models.target_recipe(name) == study.models.target_recipe(name)
    assert models.voter_recipe("sfl_vae", 0) == study.models.voter_recipe("sfl_vae", 0)


def test_ablation_starts_from_the_same_weights_and_sees_the_same_batches(folder):
    study = study_of(tiny_run(folder))
    recipes = [study.models.purifier_recipe(name) for name in ("sfl_vae", "non_sfl_vae")]
    a, b = (dict(recipe) for recipe in recipes)
    assert a.pop("config").training == b.pop("config").training
    assert a == b
    weights = [reproducibility.weights_hash(study.models.purifier(n)) for n in study.plan.purifiers]
    assert weights[0] != weights[1]


def test_zoo_loads_what_was_trained_and_names_what_there_is(folder):
    study = study_of(tiny_run(folder))
    loaded = zoo.load("digits", "sfl_vae", folder / "results" / "zoo")
    trained = study.models.purifier("sfl_vae")
    images = study.data.test.images[:5]
    for model in (loaded, trained):
        model.reset_randomness(7)
    np.testing.assert_array_equal(loaded.purify(images), trained.purify(images))
    assert "non_sfl_vae" not in zoo.names("digits", folder / "results" / "zoo"), "an ablation"
    with pytest.raises(ValueError, match=r"'puvae'.*sfl_vae"):
        zoo.load("digits", "puvae", folder / "results" / "zoo")


def test_published_models_stand_in_for_training(folder, tmp_path, monkeypatch):
    study = study_of(tiny_run(folder))
    published = folder / "results" / "zoo"
    store = ArtifactStore(tmp_path)
    models = TrainedModels(study.plan, study.data, store, 0, published)
    monkeypatch.setattr("experiments.fitting.fit", lambda *_, **__: pytest.fail("trained"))
    for expected, received in (
        (study.models.target("A"), models.target("A")),
        (study.models.voter("sfl_vae", 1), models.voter("sfl_vae", 1)),
    ):
        assert reproducibility.weights_hash(expected) == reproducibility.weights_hash(received)
    other_seed = TrainedModels(study.plan, study.data, store, 1, published)
    assert zoo.find("digits", other_seed.target_recipe("A"), published) is None


def test_damaged_zoo_file_is_refused(folder, tmp_path):
    import shutil

    shutil.copytree(folder / "results" / "zoo", tmp_path / "zoo")
    path = tmp_path / "zoo" / "digits" / "target_A.keras"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match="damaged"):
        zoo.load("digits", "target_A", tmp_path / "zoo")


def test_killed_runs_resume_to_the_same_rows(folder, tmp_path):
    arguments = command(tmp_path, tiny=True)
    assert killed_runs(arguments, [12.0, 16.0]) >= 1
    run_to_the_end(arguments)
    assert rows_without_seconds(tmp_path) == rows_without_seconds(folder)


def test_accuracy_counts_voters_and_images():
    predictions = np.array([[1, 2], [3, 3]])
    assert accuracy(predictions, np.array([1, 3])) == (0.75, 3, 4)
    assert accuracy(np.array([1, 0]), np.array([1, 3])) == (0.5, 1, 2)


def test_catalog_ids_are_unique_and_prefixes_select():
    ids = [entry.id for entry in catalog.ENTRIES]
    assert len(ids) == len(set(ids))
    assert [e.id for e in catalog.select(["003.F3.6"])] == ["003.F3.6"]
    chapter = [e.id for e in catalog.select(["003.F3"])]
    assert "003.F3.16" in chapter and not any(i.startswith("003.F4") for i in chapter)
    assert all(e.id.startswith("002.T") for e in catalog.select(["002.T"]))
    with pytest.raises(ValueError, match=r"'003.F9'.*003.F3.6"):
        catalog.select(["003.F9"])


def test_listing_names_every_entry_and_what_is_missing():
    text = listing(catalog.ENTRIES, [presets.profile(name) for name in presets.known_profiles()])
    for entry in catalog.ENTRIES:
        assert entry.id in text
    assert "not implemented yet" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profile", "huge"], "demo, quick, paper"),
        (["--only", "003.F99"], "003.F3.6"),
        (["--dataset", "imagenet"], "digits"),
    ],
)
def test_unknown_names_end_with_the_known_ones(arguments, message, capsys):
    assert run_all.main(arguments) == 2
    assert message in capsys.readouterr().err
