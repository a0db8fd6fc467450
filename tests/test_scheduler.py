"""Which exhibits a run measures and what it draws of them; rows are made up, no model is asked."""

from __future__ import annotations

import dataclasses
import json

import pytest

from experiments import presets, scheduler
from experiments.measure import Study
from experiments.runs import (
    Run,
    check_folders,
    choose_datasets,
    choose_exhibits,
    draw,
    is_drawn,
    redraw,
)
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
    run = tiny_run(tmp_path, exhibits=["003.F4.3", "002.T2", "000.F2", "003.F3.8"])
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


def test_where_nothing_was_measured_nothing_can_be_drawn(tmp_path):
    run = tiny_run(tmp_path, exhibits=["003.F3.14"])
    with pytest.raises(ValueError, match=r"raw/tiny, received none; .* rows of no profile"):
        redraw(run)
    run.rows.add(of_digits("sfl_vae", 0.5))
    with pytest.raises(ValueError, match=r"rows of 003\.F3\.14 on digits with seed 0 .*none"):
        redraw(run)
    assert not (tmp_path / "results/figures").exists()


def test_a_run_that_measured_nothing_of_what_was_asked_for_says_so(tmp_path, made):
    run = tiny_run(tmp_path, exhibits=["003.F3.14"])
    with pytest.raises(ValueError, match=r"rows of 003\.F3\.14 on digits with seed 0"):
        scheduler.run_all(run)
    assert made == ["003.F3.14"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, "the seed to be an integer of at least 0"),
        ({"seed": 2**40}, "the seed to be an integer .*at most 4294967295, received 1099511627776"),
        ({"dataset_names": ("mnist",)}, "a data set of profile tiny to be one of digits"),
        ({"pdf": "yes"}, "pdf to be True or False"),
    ],
)
def test_a_run_of_what_is_not_there_is_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(tiny_run(tmp_path), **changes)


def test_folders_are_checked_before_the_work(tmp_path):
    run = tiny_run(tmp_path)
    check_folders(run)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["artifacts", "results"]
    with pytest.raises(ValueError, match=r"nowhere, which is no folder. Make it"):
        check_folders(dataclasses.replace(run, data_dir=tmp_path / "nowhere"))
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file"):
        check_folders(dataclasses.replace(run, artifacts_dir=tmp_path / "file"))


def test_exhibits_are_those_that_the_data_sets_have():
    profile = presets.profile("quick")
    (found,) = choose_exhibits(profile, ["003.F3.6"], ["mnist", "cifar10"])
    assert found.id == "003.F3.6"
    assert choose_exhibits(profile, [], ["mnist"]) == tuple(catalog.EXHIBITS)
    wrong = r"'003.F3.6' on a data set that has it, received mnist .*--profile quick --dataset fas"
    with pytest.raises(ValueError, match=wrong):
        choose_exhibits(profile, ["004", "003.F3.6"], ["mnist"])
    with pytest.raises(ValueError, match=r"are measured, received '002.T2' .*not implemented yet"):
        choose_exhibits(profile, ["003.F3.6", "002.T2"], ["cifar10"])


def test_data_sets_are_those_of_the_profile():
    profile = tiny_profile()
    assert choose_datasets(profile, []) == choose_datasets(profile, ["digits"]) == ("digits",)
    with pytest.raises(ValueError, match=r"profile tiny to be one of digits, received 'imagenet'"):
        choose_datasets(profile, ["digits", "imagenet"])


def test_the_record_keeps_the_environments_of_earlier_runs(tmp_path, made, monkeypatch):
    path = tiny_run(tmp_path).rows.folder / "digits_seed0.json"

    def on(backend: str, exhibit: str) -> dict[str, object]:
        monkeypatch.setattr(scheduler, "environment_record", lambda: {"backend": backend})
        scheduler.run_all(tiny_run(tmp_path, exhibits=[exhibit]))
        return json.loads(path.read_text())

    assert on("one", "003.F3.8")["earlier_environments"] == []
    second = on("two", "003.F4.3")
    assert second["environment"] == {"backend": "two"}
    assert second["earlier_environments"] == [{"backend": "one"}]
    monkeypatch.setitem(MADE, "003.F3.8", of_digits("defense_vae", 0.6))
    assert on("one", "003.F3.8")["earlier_environments"] == [{"backend": "two"}]
