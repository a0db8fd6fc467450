"""The whole way, on tiny data: models, sets, rows, figures, report; killed, damaged, repeated."""

from __future__ import annotations

import dataclasses
import errno
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import run_all
from benchmarks.kill_and_resume import (
    command,
    different_arrays,
    killed_run,
    rows_without_seconds,
    run_to_the_end,
)
from experiments import reproducibility, scheduler
from experiments.attacked_sets import Scenario
from experiments.outcomes import OutcomeStore
from experiments.runs import redraw
from experiments.training import TrainedModels
from papers import catalog
from results.row import Row
from results.store import RowStore
from tests.tiny_profile import (
    EXHIBITS,
    SMALLEST_EXHIBITS,
    rows_where,
    smallest_profile,
    study_of,
    tiny_run,
)

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = [sys.executable, str(ROOT / "tests" / "tiny_profile.py")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One finished run of the tiny profile."""
    path = tmp_path_factory.mktemp("tiny")
    scheduler.run_all(tiny_run(path))
    return path


# -- one run --------------------------------------------------------------------------------------


def test_every_exhibit_has_rows_a_figure_and_a_place_in_the_report(folder):
    run = tiny_run(folder)
    report = (folder / "results/reports/tiny.md").read_text()
    for name in EXHIBITS:
        pictures = (run.rows.folder / f"{name}_digits.npz").is_file()
        assert pictures or rows_where(run, catalog.exhibit(name).where), name
        assert (folder / f"results/figures/tiny/{name}_digits.png").stat().st_size > 5000
        assert f"{name}_digits.png" in report
    assert not list((folder / "results/figures").rglob("*.pdf"))


def test_rows_name_deciders_and_count_voters_and_draws(folder):
    rows = rows_where(
        tiny_run(folder),
        {"metric": "accuracy", "threat_model": ("none", "oblivious"), "target": ("A", "B")},
    )
    # 2 targets, clean and under PGD: no defense, target, mean voter, vote, two tables.
    assert len(rows) == 2 * 2 * 6
    assert {row.decider for row in rows} == {"target", "mean_voter", "vote", "vote_bayes"}
    for row in rows:
        assert row.distinct_images == 40
        draws = 1 if row.defense == "none" else 2
        assert row.settings.get("draws", 1) == draws
        assert row.total == 40 * draws * (2 if row.decider == "mean_voter" else 1)
    clean = [row for row in rows if row.attack == "none" and row.decider == "vote"]
    assert len({row.correct for row in clean}) == 1, "the clean vote knows no target"


def test_rows_and_outcomes_say_what_the_models_say(folder):
    run = tiny_run(folder)
    study = study_of(run)
    pgd = Scenario(threat="oblivious", attack="pgd", epsilon=0.1, targets=("A",))
    images = study.sets.images(pgd)
    assert np.abs(images - study.data.test.images).max() <= 0.1 + 1e-6
    right = study.models.target("A").predict(images, verbose=0).argmax(-1) == (
        study.data.test.labels
    )
    (row,) = rows_where(run, {"defense": "none", "attack": "pgd", "target": "A"})
    assert row.correct == right.sum()
    np.testing.assert_array_equal(study.outcomes.get(row).correct, right[np.newaxis])


def test_the_whole_run_attacks_each_set_once(folder):
    made = [
        path
        for path in (folder / "artifacts" / "attacked_sets").iterdir()
        if not path.name.startswith(".")
    ]
    # FGSM and PGD at 0.1 on A and PGD on B, one set of Carlini-Wagner, one through the defense.
    assert len(made) == 5


def test_running_again_measures_nothing_and_repeats_no_row(folder, monkeypatch):
    before = {p: p.read_bytes() for p in (folder / "results").rglob("*") if p.is_file()}

    def forbidden(*_, **__):
        raise AssertionError("a model was asked for although every row is there")

    for name in ("target", "purifier", "voter", "retrained"):
        monkeypatch.setattr(TrainedModels, name, forbidden)
    scheduler.run_all(tiny_run(folder))
    after = {p: p.read_bytes() for p in (folder / "results").rglob("*") if p.is_file()}
    assert before == after


def test_figures_are_redrawn_from_rows_alone(folder, tmp_path):
    shutil.copytree(folder / "results" / "raw", tmp_path / "results" / "raw")
    redraw(tiny_run(tmp_path))
    for name in EXHIBITS:
        figure = f"results/figures/tiny/{name}_digits.png"
        assert (tmp_path / figure).read_bytes() == (folder / figure).read_bytes()


# -- models ---------------------------------------------------------------------------------------


def test_other_voters_change_only_what_depends_on_them(folder):
    study = study_of(tiny_run(folder))
    decision = dataclasses.replace(study.plan.decision, num_drawn=2)
    plan = dataclasses.replace(study.plan, decision=decision)
    models = TrainedModels(plan, study.data, study.models.store, 0)
    for name in "AB":
        assert models.target_recipe(name) == study.models.target_recipe(name)
    assert models.voter_recipe("sfl_vae", 0) == study.models.voter_recipe("sfl_vae", 0)


def test_an_ablation_starts_from_the_same_weights_and_sees_the_same_batches(folder):
    study = study_of(tiny_run(folder))
    recipes = [study.models.purifier_recipe(name) for name in ("sfl_vae", "non_sfl_vae")]
    a, b = (dict(recipe) for recipe in recipes)
    assert a.pop("config").training == b.pop("config").training
    assert a == b
    weights = [reproducibility.weights_hash(study.models.purifier(n)) for n in study.plan.purifiers]
    assert weights[0] != weights[1]


def test_a_damaged_voter_is_trained_again_on_purified_images(folder, tmp_path):
    shutil.copytree(folder / "artifacts", tmp_path / "artifacts")
    models = study_of(tiny_run(tmp_path)).models
    path = models.store.folder("voters", models.voter_recipe("sfl_vae", 1)) / "model.keras"
    path.write_bytes(path.read_bytes()[:-10])
    expected = study_of(tiny_run(folder)).models.voter("sfl_vae", 1)
    again = models.voter("sfl_vae", 1)
    assert reproducibility.weights_hash(again) == reproducibility.weights_hash(expected)


# -- several runs ---------------------------------------------------------------------------------


def test_killed_runs_resume_to_the_same_rows(folder, tmp_path):
    arguments = command(tmp_path, tiny=True)
    kill = killed_run(arguments, tmp_path, 13.0)
    assert kill is not None and not kill.beside
    run_to_the_end(arguments)
    assert rows_without_seconds(tmp_path) == rows_without_seconds(folder)
    assert different_arrays(tmp_path, folder) == []


def test_two_runs_at_once_end_in_the_rows_of_one(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    arguments = [*SCRIPT, str(two), "--smallest"]
    together = [subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    scheduler.run_all(tiny_run(one, smallest_profile(), SMALLEST_EXHIBITS))
    for process in together:
        _, errors = process.communicate()
        assert process.returncode == 0, errors[-3000:]
    assert rows_without_seconds(one) == rows_without_seconds(two) != []
    rows = {path: RowStore(path / "results", "tiny").read() for path in (one, two)}
    for first, second in zip(rows[one], rows[two], strict=True):
        np.testing.assert_array_equal(_outcome(one, first), _outcome(two, second))
    made = [
        {path.parent.name for path in (folder / "artifacts").rglob("manifest.json")}
        for folder in (one, two)
    ]
    assert made[0] == made[1] and not (two / "artifacts" / "damaged").exists()


def _outcome(folder: Path, row: Row) -> np.ndarray:
    found = OutcomeStore(RowStore(folder / "results", "tiny").folder).get(row)
    assert found is not None
    return found.correct


# -- the command ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--only", "002.T2"],
            "'002.T2' (002.T2, point-wise measures, MNIST: not implemented yet)",
        ),
        (["--profile", "quick", "--dataset", "mnist", "--only", "003.F3.6"], "--dataset fashion"),
        (["--figures-only"], "there are rows of no profile"),
        (["--data-dir", "/nowhere"], "/nowhere, which is no folder"),
        (["--artifacts-dir", "/dev/null"], "'/dev/null'. Free space, or grant access"),
    ],
)
def test_what_cannot_be_measured_ends_in_one_line(tmp_path, arguments, message, capsys):
    folders = ["--results-dir", str(tmp_path), "--artifacts-dir", str(tmp_path)]
    assert run_all.main([*folders, *arguments]) == 2
    text = capsys.readouterr().err
    assert text.startswith("error: ") and text.count("\n") == 1 and message in text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed", "one"], "argument --seed: expected an integer of at least 0, received 'one'"),
        (["--figures"], "expected the options that --help lists, received --figures"),
        (["--seed", "-1"], "argument --seed: expected an integer of at least 0, received '-1'"),
        (["--list", "--pdf"], "one of --list and --pdf, received both"),
        (["--list", "--figures-only"], "one of --list and --figures-only, received both"),
        (["--train", "--figures-only"], "one of --figures-only and --train, received both"),
        (["--pack", "a.tar", "--unpack", "b.tar"], "one of --pack and --unpack, received both"),
        (["--dry-run", "--time-limit", "3"], "one of --dry-run and --time-limit, received both"),
        (["--list", "--executor", "local"], "one of --list and --executor, received both"),
        (["--pack", "a.tar", "--only", "003"], "one of --pack and --only, received both"),
    ],
)
def test_options_that_make_no_sense_end_in_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        run_all.main(arguments)
    text = capsys.readouterr().err
    assert stop.value.code == 2
    assert text.startswith("error: ") and text.count("\n") == 1 and message in text


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/full/digits.csv"), "/full/digits.csv"),
        (MemoryError(), "the memory is full"),
    ],
)
def test_a_failure_in_the_middle_says_that_the_rest_is_kept(
    tmp_path, monkeypatch, error, message, capsys
):
    def fail(run: object) -> None:
        raise error

    monkeypatch.setattr(scheduler, "run_all", fail)
    folders = ["--results-dir", str(tmp_path), "--artifacts-dir", str(tmp_path)]
    assert run_all.main(["--only", "003.F3.6", *folders]) == 2
    text = capsys.readouterr().err
    assert message in text and "What was measured before is kept" in text


def test_a_fault_of_our_own_keeps_its_trace(tmp_path, monkeypatch):
    def fail(run: object) -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(scheduler, "run_all", fail)
    folders = ["--results-dir", str(tmp_path), "--artifacts-dir", str(tmp_path)]
    with pytest.raises(ZeroDivisionError, match="a fault") as raised:
        run_all.main(["--only", "003.F3.6", *folders])
    assert raised.value.__notes__ == [run_all.KEPT]


def test_the_listing_names_every_exhibit_and_what_is_missing(capsys):
    assert run_all.main(["--list"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {exhibit.id} " in text for exhibit in catalog.EXHIBITS)
    assert "-- not implemented yet" in text
    assert "demo: digits" in text and "paper: " in text


def test_a_reader_that_has_enough_ends_the_listing_quietly():
    listing = subprocess.Popen(
        [sys.executable, str(ROOT / "run_all.py"), "--list"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert listing.stdout is not None and listing.stderr is not None
    listing.stdout.close()
    assert (listing.wait(), listing.stderr.read()) == (141, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profile", "huge"], "demo, quick, full, paper"),
        (["--only", "003.F99"], "003.F3.6"),
        (["--dataset", "imagenet"], "digits"),
    ],
)
def test_unknown_names_end_with_the_known_ones(arguments, message, capsys):
    assert run_all.main(arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["--list"], ["--figures-only"]])
def test_what_measures_nothing_starts_at_once(folder, tmp_path, arguments):
    """Less than 3 seconds of the processor, without TensorFlow and Keras."""
    shutil.copytree(folder / "results" / "raw" / "tiny", tmp_path / "raw" / "demo")
    code = (
        "import sys, run_all\n"
        "try:\n"
        "    run_all.main(sys.argv[1:])\n"
        "except SystemExit as stop:\n"
        "    sys.exit(stop.code or 0)\n"
        "finally:\n"
        "    heavy = {'tensorflow', 'keras', 'jax', 'torch'} & set(sys.modules)\n"
        "    print('imported:', sorted(heavy), file=sys.stderr)\n"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--only", "003.F3.8", "--results-dir", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == "imported: []"
    assert done.stdout
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent < 3
