"""Which exhibits a run measures and what it draws of them; rows are made up, no model is asked."""

from __future__ import annotations

import dataclasses
import json

import pytest

from experiments import scheduler
from experiments.measure import Study
from experiments.runs import Run, choose_datasets, draw, is_drawn, redraw
from experiments.training import TrainedModels
from papers import catalog
from results.exhibit import Exhibit, Grid, Probe
from results.row import Row
from tests.made_rows import accuracy, clean
from tests.tiny_profile import study_of, tiny_profile, tiny_run

POOL = {"target": "A", "drawn": 3, "voters": 6}


def of_digits(defense: str, value: float, **changes: object) -> list[Row]:
    """The accuracy of a defense on clean images and under PGD."""
    fields = {"dataset": "digits", "defense": defense, "decider": "vote_bayes", "settings": POOL}
    if defense == "none":
        fields |= {"decider": "target", "settings": {"target": "A"}}
    return [
        clean(value, **fields, **changes),
        accuracy(value / 2, attack="pgd", **fields, **changes),
    ]


MADE = {
    "003.F3.8": [*of_digits("none", 0.9), *of_digits("sfl_vae", 0.8)],
    "003.F4.3": of_digits("defense_cyclegan", 0.7),
}


@pytest.fixture(autouse=True)
def no_models(monkeypatch):
    def forbidden(*_, **__):
        raise AssertionError("a model was asked for")

    for name in ("target", "purifier", "voter", "retrained", "substitute"):
        monkeypatch.setattr(TrainedModels, name, forbidden)


@pytest.fixture
def made(monkeypatch) -> list[str]:
    """Measuring an exhibit adds its rows of `MADE`; the ids that were measured."""
    ids = []

    def measure(study: Study, exhibit: Exhibit) -> None:
        ids.append(exhibit.id)
        fresh = [row for row in MADE.get(exhibit.id, []) if not study.rows.has(row)]
        study.rows.add(fresh)
        study.measured += fresh

    monkeypatch.setattr(scheduler, "measure_exhibit", measure)
    return ids


def figure(run: Run, id: str, seed: str = ""):
    return run.results_dir / f"figures/tiny/{id}_digits{seed}.png"


def test_what_has_something_to_measure_is_measured_in_order(tmp_path, made, capsys):
    run = tiny_run(tmp_path, exhibits=["003.F4.3", "001.T1", "000.F2", "003.F3.8"])
    scheduler.run_all(run)
    # 000.F2 is a copy, which selects its originals.
    assert made == ["003.F4.3", "003.F4.2", "003.F4.4", "003.F4.5", "003.F3.8"]
    text = capsys.readouterr().out
    assert f"[digits 5/5] 003.F3.8  {catalog.exhibit('003.F3.8').title}: " in text
    assert f"Report: {run.results_dir / 'reports/tiny.md'}" in text


def test_a_figure_that_is_missing_is_drawn_though_nothing_is_new(tmp_path, made):
    run = tiny_run(tmp_path, exhibits=["003.F3.8"])
    scheduler.run_all(run)
    first = figure(run, "003.F3.8").read_bytes()
    figure(run, "003.F3.8").unlink()
    scheduler.run_all(run)
    assert figure(run, "003.F3.8").read_bytes() == first


def test_new_rows_appear_in_every_figure_that_shows_them(tmp_path, made):
    before = tiny_run(tmp_path, exhibits=["003.F3.8"])
    scheduler.run_all(before)
    old = figure(before, "003.F3.8").read_bytes()
    scheduler.run_all(tiny_run(tmp_path, exhibits=["003.F4.3"]))
    new = figure(before, "003.F3.8").read_bytes()
    assert new != old
    assert figure(before, "003.F4.3").is_file()
    # Figures that were neither chosen nor drawn before stay away.
    assert len(list(figure(before, "").parent.glob("*.png"))) == 2
    draw(before, catalog.exhibit("003.F3.8"), "digits")
    assert figure(before, "003.F3.8").read_bytes() == new


def test_rows_of_a_later_exhibit_appear_in_figures_of_the_same_run(tmp_path, made):
    both = tiny_run(tmp_path / "both", exhibits=["003.F3.8", "003.F4.3"])
    scheduler.run_all(both)
    shown = figure(both, "003.F3.8").read_bytes()
    draw(both, catalog.exhibit("003.F3.8"), "digits")
    assert figure(both, "003.F3.8").read_bytes() == shown


def test_the_record_says_what_rows_were_measured_with(tmp_path, made):
    run = tiny_run(tmp_path, exhibits=["003.F3.8"])
    scheduler.run_all(run)
    path = run.rows.folder / "digits_seed0.json"
    record = json.loads(path.read_text())
    study = study_of(run)
    assert record["test_images"] == study.sets.image_hash
    assert record["checksum"] == study.data.checksum
    assert record["images"] == {"train": 200, "validation": 100, "test": 40}
    assert record["budgets"] == {"axis": [0.0, 0.1], "voting": [0.1]}
    assert record["attacks"]["pgd"]["hyperparameters"] == {"num_steps": 2}
    assert record["plan"]["decision"]["num_drawn"] == 1
    assert {"python", "tensorflow", "keras"} <= set(record["environment"])


def test_the_record_is_written_anew_with_new_rows_alone(tmp_path, made):
    run = tiny_run(tmp_path, exhibits=["003.F3.8"])
    scheduler.run_all(run)
    path = run.rows.folder / "digits_seed0.json"
    path.write_text("{}")
    scheduler.run_all(run)
    assert path.read_text() == "{}"
    scheduler.run_all(tiny_run(tmp_path, exhibits=["003.F4.3"]))
    assert json.loads(path.read_text())["dataset"] == "digits"


def test_an_exhibit_is_measured_by_grids_and_probes(tmp_path, monkeypatch):
    study, asked = study_of(tiny_run(tmp_path)), []
    monkeypatch.setattr(scheduler, "measure", lambda study, grid: asked.append(grid))
    monkeypatch.setattr(
        scheduler.probes, "run", lambda study, exhibit, probe: asked.append((exhibit, probe))
    )
    grid, probe = Grid(threat="none", attacks=("none",), targets=("A",)), Probe("seconds")
    scheduler.measure_exhibit(study, Exhibit(id="009.F1", title="t", measures=(grid, probe)))
    assert asked == [grid, ("009.F1", probe)]


@pytest.mark.parametrize("from_zoo", [True, False])
def test_published_models_are_taken_if_asked_for(tmp_path, from_zoo):
    run = dataclasses.replace(tiny_run(tmp_path), from_zoo=from_zoo)
    published = study_of(run).models.published
    assert (published is not None) == from_zoo


# -- without measuring ----------------------------------------------------------------------------


def test_figures_are_drawn_from_rows_alone(tmp_path, made, capsys):
    run = tiny_run(tmp_path / "first", exhibits=["003.F3.8"])
    scheduler.run_all(run)
    copy = tiny_run(tmp_path / "copy", exhibits=["003.F3.8", "003.F3.14"])
    copy.rows.add(run.rows.read())
    redraw(copy)
    assert figure(copy, "003.F3.8").read_bytes() == figure(run, "003.F3.8").read_bytes()
    assert not figure(copy, "003.F3.8").with_suffix(".pdf").exists()
    text = capsys.readouterr().out
    assert "[digits] 003.F3.8: drawn" in text and "003.F3.14: no figure to draw" in text
    redraw(dataclasses.replace(copy, pdf=True))
    assert figure(copy, "003.F3.8").with_suffix(".pdf").stat().st_size > 5000


def test_another_seed_takes_no_figure_away(tmp_path, made, capsys):
    run = tiny_run(tmp_path, exhibits=["003.F3.8"])
    scheduler.run_all(run)
    before = figure(run, "003.F3.8").read_bytes()
    report = (run.results_dir / "reports/tiny.md").read_text()
    other = dataclasses.replace(run, seed=1)
    rows = [row for row in MADE["003.F3.8"] if row.defense == "none"]
    other.rows.add(dataclasses.replace(row, seed=1) for row in rows)
    redraw(other)
    assert figure(run, "003.F3.8", "_seed1").is_file()
    assert is_drawn(other, catalog.exhibit("003.F3.8"), "digits")
    assert figure(run, "003.F3.8").read_bytes() == before
    assert (run.results_dir / "reports/tiny.md").read_text() == report
    assert "The report shows seed 0" in capsys.readouterr().out


def test_nothing_measured_is_said_not_raised(tmp_path, capsys):
    redraw(tiny_run(tmp_path))
    assert "Nothing measured yet, so there is no report." in capsys.readouterr().out


def test_data_sets_are_those_of_the_profile():
    profile = tiny_profile()
    assert choose_datasets(profile, []) == choose_datasets(profile, ["digits"]) == ("digits",)
    with pytest.raises(ValueError, match=r"'tiny' has no data set 'imagenet'. It has: digits"):
        choose_datasets(profile, ["digits", "imagenet"])
