"""README and docs/papers.md: what they say is there, runs, and is current.

``python tests/test_readme.py`` writes the tables between their markers anew.
"""

from __future__ import annotations

import ast
import functools
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest

import run_all
from attacks.threat_models import ThreatModel
from experiments import catalog, presets, scheduler
from results.labels import DATASET_LABELS
from results.report import report_tables
from results.rows import RowStore
from results.tables import update_between_markers

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAPERS = ROOT / "docs" / "papers.md"
PAGES = (README, PAPERS)
PACKAGES = "models|defenses|attacks|experiments|results"
# What a run writes; a clone has those of the profile `quick` only, once they are measured.
OUTPUTS = re.compile(r"results/(figures|reports|raw|tables|zoo)\b")
NOT_MEASURED = "Not measured yet.\n"


def page(path: Path) -> str:
    """The text of a page."""
    return path.read_text(encoding="utf-8")


def commands() -> list[str]:
    """Every line of the README's shell blocks, without comments."""
    blocks = re.findall(r"```bash\n(.*?)```", page(README), re.DOTALL)
    lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


@functools.cache
def quick_tables() -> dict[str, str]:
    """The tables that the committed rows make; none before there are rows."""
    rows = [row for row in RowStore(ROOT / "results", "quick").read() if row.seed == 0]
    return report_tables(rows) if rows else {}


def profiles_table() -> str:
    """What each profile runs on and cuts."""
    lines = ["| profile | data | what it cuts |", "| :-- | :-- | :-- |"]
    for name in presets.known_profiles():
        profile = presets.profile(name)
        data = ", ".join(DATASET_LABELS[dataset] for dataset in profile.plans)
        lines.append(f"| `{name}` | {data} | {profile.cuts.removeprefix(f'Profile {name}: ')} |")
    return "\n".join(lines) + "\n"


def current(text: str) -> str:
    """A page with every marked table as it should be."""
    tables = {"profiles": profiles_table(), **quick_tables()}
    for name in re.findall(r"<!-- table:(\S+) -->", text):
        text = update_between_markers(text, name, tables.get(name, NOT_MEASURED))
    return text


@functools.cache
def names_in(path: Path) -> dict[str, ast.AST]:
    """What a module defines at its top level, or a class directly in its body, by name."""
    found: dict[str, ast.AST] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        found |= {t.id: node for t in targets if isinstance(t, ast.Name)}
    return found


def defined(dotted: str) -> bool:
    """Whether ``package.module.name`` or ``package.module.Class.name`` is in the code."""
    package, module, *names = dotted.split(".")
    folder = ROOT / package / module
    path = folder.with_suffix(".py")
    if folder.is_dir():
        inner = folder / f"{names[0]}.py" if names else folder
        path, names = (inner, names[1:]) if inner.is_file() else (folder / "__init__.py", names)
    if not path.is_file() or len(names) > 2:
        return False
    if not names:
        return True
    node = names_in(path).get(names[0])
    if len(names) == 1 or node is None:
        return node is not None
    return any(getattr(member, "name", None) == names[1] for member in getattr(node, "body", []))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_every_table_begins_with_a_heading(path):
    """A blank line within a table would end it: what follows is shown as plain text."""
    tables = re.findall(r"(?:^\|.*\n)+", page(path), re.MULTILINE)
    assert tables
    for table in tables:
        first, second, *_ = [*table.splitlines(), ""]
        assert re.fullmatch(r"\|(?: :?-+:? \|)+", second), f"no heading above: {first}"


def test_the_resolver_knows_what_is_there():
    assert defined("defenses.sfl_vae.SFLVAE.train_step")
    assert defined("models.resnet.VARIANTS")
    assert defined("experiments.presets.profile")
    assert defined("experiments.presets.shared.attacked_copies")
    assert not defined("experiments.presets.shared.nothing")
    assert not defined("defenses.sfl_vae.SFLVAE.nothing")
    assert not defined("defenses.sfl_vae.nothing")
    assert not defined("defenses.nothing")


def test_two_commands_of_one_line_each():
    install = "python3.11 -m venv .venv && .venv/bin/pip install -q -r requirements.txt && "
    assert [c.removeprefix(install) for c in commands() if c.startswith(install)] == [
        ".venv/bin/python run_all.py",
        ".venv/bin/python -m pytest",
    ]


def test_continuous_integration_runs_the_second_command():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    shown = subprocess.run([script, "--show"], capture_output=True, text=True, check=True)
    assert [shown.stdout.strip()] == [c for c in commands() if c.endswith("-m pytest")]


def test_every_run_all_command_is_accepted():
    runs = [command.split("run_all.py", 1)[1] for command in commands() if "run_all.py" in command]
    assert len(runs) >= 5
    for arguments in runs:
        options = run_all.parse_arguments(shlex.split(arguments))
        profile = presets.profile(options.profile)
        assert catalog.select(options.only)
        assert scheduler.choose_datasets(profile, options.dataset)


def test_every_option_in_the_text_exists(capsys):
    with pytest.raises(SystemExit):
        run_all.parse_arguments(["--help"])
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    mentioned = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page(README)))
    assert mentioned
    assert mentioned <= known


def test_quick_start_is_ten_lines_that_purify_a_batch():
    blocks = re.findall(r"```python\n(.*?)```", page(README), re.DOTALL)
    assert len(blocks) == 1
    assert len([line for line in blocks[0].splitlines() if line.strip()]) <= 10
    check = (
        "import numpy as np\n"
        "assert purified.shape == images.shape == (100, 28, 28, 1)\n"
        "assert purified.dtype == np.float32\n"
        "assert 0 <= purified.min() < purified.max() <= 1\n"
        "assert not np.array_equal(purified, attacked)\n"
        "assert abs(np.abs(attacked - images).max() - 0.15) < 1e-5\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", blocks[0] + check],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    accuracy = {name: float(value) for name, value in map(str.split, run.stdout.splitlines())}
    assert list(accuracy) == ["clean", "attacked", "purified"]
    assert accuracy["attacked"] < accuracy["purified"] <= 1
    assert accuracy["attacked"] < accuracy["clean"] <= 1


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_tables_are_current(path):
    assert page(path) == current(page(path)), "Run: python tests/test_readme.py"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    text = page(path)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert links
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        place, _, anchor = link.partition("#")
        target = (path.parent / place).resolve() if place else path
        if not expected(target):
            continue
        assert target.exists(), f"{path.name}: {link}"
        if anchor:
            there = headings if target == path else re.findall(r"(?m)^#+ (.+)$", page(target))
            assert anchor in {slug(heading) for heading in there}, f"{path.name}: {link}"


def expected(target: Path) -> bool:
    """Whether a linked file has to be there: an output only once its rows are."""
    if not OUTPUTS.match(target.relative_to(ROOT).as_posix()):
        return True
    return target.stem in quick_tables() or (target.suffix == ".md" and "claims" in quick_tables())


def slug(heading: str) -> str:
    """The anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_named_code_exists(path):
    text = page(path)
    dotted = re.findall(rf"`((?:{PACKAGES})\.\w[\w.]*)`", text)
    files = re.findall(rf"`((?:{PACKAGES}|docs|tests|notebooks|benchmarks)/[\w./]*)`", text)
    assert files or dotted
    assert not [name for name in dotted if not defined(name)]
    assert not [f for f in files if not OUTPUTS.match(f) and not (ROOT / f).exists()]


def test_papers_covers_what_is_measured():
    text = page(PAPERS)
    equations = [f"3.3.{number}" for number in range(1, 7)]
    equations += [f"4.3.{number}" for number in range(1, 4)]
    equations += [f"5.3.{number}" for number in (2, 3, 5)]
    for equation in equations:
        assert re.search(rf"^\| {re.escape(equation)}\D.*`defenses\.", text, re.MULTILINE), equation
    mapped = ("000", "003", "004")
    wanted = [entry.id for entry in catalog.ENTRIES if entry.id.startswith(mapped)]
    missing = [name for name in wanted if not re.search(rf"{re.escape(name)}(?![\d.])", text)]
    assert not missing
    known = {entry.id for entry in catalog.ENTRIES}
    named = re.findall(r"003\.[A-Z]\w*\.[\w.]*\w|00[04]\.[FT]\d+", text)
    unknown = set(named) - known
    assert not unknown


def test_papers_maps_every_threat_model():
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \| [^|]+ \|$", page(PAPERS), re.MULTILINE)
    assert sorted(rows) == sorted(model.value for model in ThreatModel)


def test_the_threat_model_warning_comes_before_any_number():
    text = page(README)
    warning = text.index("They are not robustness")
    assert warning < text.index("<!-- table:") and warning < text.index("![")


if __name__ == "__main__":
    for each in PAGES:
        each.write_text(current(page(each)), encoding="utf-8")
