"""README and docs: short, what they say is there and runs, and what is generated is current."""

from __future__ import annotations

import ast
import functools
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import run_all
from attacks.threat_models import ThreatModel
from experiments import datasets, presets, runs
from experiments.measure import NOT_ATTACKED
from papers import catalog, pages
from results.claims import judge_claims
from results.exhibit import DATASET_LABELS
from results.markdown import sheet_table
from results.sheet import fill
from results.store import RowStore
from tests.made_rows import accuracy, cells, clean

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
INDEX = ROOT / "docs" / "papers" / "README.md"
GUIDE = ROOT / "docs" / "adding_a_paper.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
PACKAGES = "models|defenses|attacks|experiments|papers|results"
#: What a run writes on the reader's machine; a clone has the outputs of `quick` only.
RUN_WRITES = re.compile(r"results/\w+/(demo\b|<profile>)")
#: The file that the guide is about.
SCRATCH = "papers/known_purifiers.py"
#: Names of former code, which a reader would take for terms of the field.
FORMER = r"wish(es)?|settles?|hardened|guard(s|_of)?|pupils?|victims?|blamed|told|companions"

every_page = pytest.mark.parametrize(
    "path", PAGES, ids=[path.relative_to(ROOT).as_posix() for path in PAGES]
)


def page(path: Path) -> str:
    """The text of a page."""
    return path.read_text(encoding="utf-8")


def commands(path: Path = README) -> list[str]:
    """Every line of a page's shell blocks, without comments."""
    blocks = re.findall(r"```bash\n(.*?)```", page(path), re.DOTALL)
    lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def python_blocks(path: Path) -> list[str]:
    """The Python code of a page."""
    return re.findall(r"```python\n(.*?)```", page(path), re.DOTALL)


@pytest.fixture(scope="module")
def rows():
    """The committed rows."""
    return RowStore(ROOT / "results", pages.PROFILE).read(seed=0)


@pytest.fixture(scope="module")
def verdicts(rows):
    """The claims held against them."""
    return pages.judge(rows)


# -- README ---------------------------------------------------------------------------------------


def test_readme_is_short():
    assert 150 <= len(page(README).splitlines()) <= 180


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
    calls = [command.split("run_all.py", 1)[1] for command in commands() if "run_all.py" in command]
    assert len(calls) >= 7
    for arguments in calls:
        options = run_all.parse_arguments(shlex.split(arguments))
        profile = presets.profile(options.profile)
        assert catalog.select(options.only)
        assert runs.choose_datasets(profile, options.dataset)


@every_page
def test_commands_of_a_page_are_accepted(path):
    for command in commands(path):
        program, _, arguments = command.partition("python ")[2].partition(" ")
        if program == "run_all.py":
            run_all.parse_arguments(shlex.split(arguments))
        elif arguments.startswith("experiments.datasets "):
            datasets.parse_arguments(shlex.split(arguments)[1:])
        elif program:
            module = arguments.split()[0]
            known = module in ("papers.pages", "pytest")
            # Scripts of measurements are named with their options on the pages about them.
            assert program == "-m" and (
                known or (ROOT / f"{module.replace('.', '/')}.py").is_file()
            )


def test_every_option_in_the_text_exists(capsys):
    with pytest.raises(SystemExit):
        run_all.parse_arguments(["--help"])
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    mentioned = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page(README)))
    assert mentioned >= {"--only", "--list", "--figures-only", "--pdf", "--dataset", "--data-dir"}
    assert mentioned <= known


def test_quick_start_is_ten_lines_that_purify_a_batch():
    (block,) = python_blocks(README)
    assert len([line for line in block.splitlines() if line.strip()]) <= 10
    check = (
        "import numpy as np\n"
        "assert purified.shape == images.shape == (100, 28, 28, 1)\n"
        "assert purified.dtype == np.float32\n"
        "assert 0 <= purified.min() < purified.max() <= 1\n"
        "assert not np.array_equal(purified, attacked)\n"
        "assert abs(np.abs(attacked - images).max() - 0.15) < 1e-5\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", block + check],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert run.returncode == 0, run.stderr[-2000:]
    found = {name: float(value) for name, value in map(str.split, run.stdout.splitlines())}
    assert list(found) == ["clean", "attacked", "purified"]
    assert found["attacked"] < found["purified"] <= 1
    assert found["attacked"] < found["clean"] <= 1


def test_the_threat_model_warning_comes_before_any_number():
    text = page(README)
    warning = text.index("are not robustness")
    assert warning < text.index("![") < text.index("<!-- table:papers -->")
    assert len(re.findall(r"!\[", text)) == 1


def test_the_profiles_are_those_that_there_are():
    for path, heading in ((README, "## Profiles"), (INDEX, "## What each profile cuts")):
        section = page(path).split(heading)[1].split("\n## ")[0]
        names = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", section, re.MULTILINE)
        assert [name for name, _ in names] == list(presets.known_profiles())
        for name, data in names:
            datasets = [DATASET_LABELS[dataset] for dataset in presets.profile(name).plans]
            assert data.split(", ") == datasets or (name, data) == ("demo", "digits")


# -- papers ---------------------------------------------------------------------------------------


def test_generated_sections_are_current(verdicts):
    assert list(pages.stale(ROOT, verdicts)) == [], "Run: python -m papers.pages"


def test_every_paper_has_its_line_and_its_page():
    for paper in catalog.PAPERS:
        path = INDEX.with_name(f"{paper.module}.md")
        assert f"]({paper.module}.md)" in page(INDEX)
        assert f"](docs/papers/{paper.module}.md)" in page(README)
        text = page(path)
        assert text.startswith(f"# {paper.title}\n")
        assert "<!-- table:exhibits -->" in text
        assert not paper.claims or "<!-- table:claims -->" in text
        assert f"`papers/{paper.module}.py`" in text


def test_what_each_profile_cuts_is_said_as_it_is():
    for name in presets.known_profiles():
        cuts = presets.profile(name).cuts.removeprefix(f"Profile {name}: ")
        assert f"| {cuts} |" in page(INDEX), name


def test_the_committed_profile_bears_what_the_pages_say():
    assert presets.profile(pages.PROFILE).bears == pages.BEARS


def test_every_threat_model_is_explained():
    found = re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \|$", page(INDEX), re.MULTILINE)
    assert sorted(found[: -len(presets.known_profiles())]) == sorted([*ThreatModel, NOT_ATTACKED])


@pytest.mark.parametrize(
    ("module", "equations"),
    [
        ("chapter3", [f"3.3.{number}" for number in range(1, 7)]),
        ("chapter4", [f"4.3.{number}" for number in range(1, 5)]),
        ("chapter5", [f"5.3.{number}" for number in (1, 2, 3, 5)]),
        ("puvae", ["1", "4", "5", "6", "11", "15", "19", "20", "22"]),
    ],
)
def test_equations_lead_to_functions(module, equations):
    text = page(INDEX.with_name(f"{module}.md"))
    for equation in equations:
        pattern = rf"^\| {re.escape(equation)}\D.*`(models|defenses|attacks)\."
        assert re.search(pattern, text, re.MULTILINE), equation


@every_page
def test_named_exhibits_exist(path):
    known = [one.id for one in catalog.EXHIBITS]
    text = re.sub(r"\]\([^)]*\)", "", page(path))  # the names of files say more
    named = re.findall(r"\b00\d\.[FTS][A-Z]?\d+(?:\.\w+)?", text)
    assert [
        name for name in named if not any(f"{id}.".startswith(f"{name}.") for id in known)
    ] == []


# -- generating -----------------------------------------------------------------------------------


@pytest.fixture
def copied(tmp_path):
    """The pages in a folder of their own."""
    for path in [README, *INDEX.parent.glob("*.md")]:
        to = tmp_path / path.relative_to(ROOT)
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(page(path), encoding="utf-8")
    return tmp_path


def test_a_stale_section_is_named_and_mended(copied, verdicts):
    path = copied / "docs" / "papers" / "puvae.md"
    text = page(path)
    path.write_text(text.replace("| `004.T7` |", "| `004.T9` |"), encoding="utf-8")
    (copied / "docs" / "papers" / "atgan.md").unlink()
    assert sorted(pages.stale(copied, verdicts)) == [
        "docs/papers/atgan.md is missing",
        "docs/papers/puvae.md: exhibits",
    ]
    made = pages.current_pages(copied, verdicts)
    assert made[path] == text
    assert made[copied / "docs" / "papers" / "atgan.md"].startswith("# ATGAN\n")


def test_a_verdict_that_changed_makes_the_claims_stale(copied, rows):
    """Without the distances of Defense-CycleGAN, Table 4.1 has no order any more."""
    left = [row for row in rows if row.metric != "l1" or row.defense != "defense_cyclegan"]
    found = set(pages.stale(copied, pages.judge(left)))
    assert {"docs/papers/chapter4.md: claims", "README.md: papers"} <= found
    assert "docs/papers/puvae.md: claims" not in found


def test_an_unknown_section_is_refused(copied, verdicts):
    path = copied / "README.md"
    path.write_text(page(path) + "<!-- table:stars -->\n<!-- /table:stars -->\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"among papers, received \'stars\'"):
        pages.current_pages(copied, verdicts)


def test_check_says_so_by_its_exit_status(copied, monkeypatch, capsys):
    monkeypatch.setattr(pages, "ROOT", copied)
    (copied / "results").symlink_to(ROOT / "results")
    assert pages.main(["--check"]) == 0
    path = copied / "docs" / "papers" / "README.md"
    path.write_text(page(path).replace("* [PuVAE]", "* [PuVaE]"), encoding="utf-8")
    assert pages.main(["--check"]) == 1
    assert "docs/papers/README.md: pages. Run: python -m papers.pages" in capsys.readouterr().err
    assert pages.main([]) == 0
    assert pages.main(["--check"]) == 0


# -- the guides -----------------------------------------------------------------------------------


def test_the_scratch_paper_of_the_guide_works():
    (code,) = python_blocks(GUIDE)
    assert f"| `{SCRATCH}` | title, one exhibit, one claim | {len(code.splitlines())} |" in page(
        GUIDE
    )
    declared: dict[str, object] = {}
    exec(compile(code, SCRATCH, "exec"), declared)
    paper = SimpleNamespace(**declared)
    common = {"dataset": "fashion_mnist", "decider": "target"}
    made = [clean(0.9, **common, defense="none"), clean(0.8, **common, defense="magnet")]
    for epsilon, values in ((0.1, (0.4, 0.6, 0.3)), (0.2, (0.1, 0.5, 0.05))):
        attacked = {**common, "attack": "pgd", "epsilon": epsilon}
        made += [
            accuracy(values[0], **attacked, defense="none"),
            accuracy(values[1], **attacked, defense="magnet"),
            accuracy(values[2], **attacked, defense="magnet", threat_model="adaptive"),
        ]
    # What other papers have measured of the same purifier is not shown.
    made.append(accuracy(0.7, **{**attacked, "attack": "fgsm"}, defense="magnet"))
    made.append(clean(0.7, **common, defense="magnet", settings={"target": "B"}))
    (exhibit,) = paper.EXHIBITS
    table = cells(sheet_table(fill(exhibit, "fashion_mnist", made)))
    assert [[line[0], line[-1]] for line in table] == [
        ["accuracy (%)", "lost"],
        ["no defense", "80.0"],
        ["MagNet, ignored", "30.0"],
        ["MagNet, known", "75.0"],
    ]
    assert [cell.split(" ± ")[0] for cell in table[3]] == [
        *("MagNet, known", "80.0", "30.0", "5.0", "75.0")
    ]
    (judged,) = judge_claims(paper.CLAIMS, made, "any size")
    assert judged.verdict == "reproduced"
    weaker = [row for row in made if row.threat_model != "adaptive"]
    weaker.append(accuracy(0.7, **attacked, defense="magnet", threat_model="adaptive"))
    (judged,) = judge_claims(paper.CLAIMS, weaker, "any size")
    assert judged.verdict == "not reproduced"
    assert (paper.TITLE, paper.SUMMARY) != ("", "")


def test_the_class_attributes_of_the_guide_are_those_of_the_class():
    block = python_blocks(ROOT / "docs" / "adding_a_defense.md")[0]
    (shown,) = ast.parse(block).body
    own = names_in(ROOT / "defenses" / "magnet.py")["MagNet"]
    assert isinstance(shown, ast.ClassDef) and isinstance(own, ast.ClassDef)
    attributes = {ast.unparse(node) for node in own.body if isinstance(node, ast.Assign)}
    assert {ast.unparse(node) for node in shown.body} == attributes


def test_the_lines_of_the_guide_are_counted():
    text = page(ROOT / "docs" / "adding_a_defense.md")
    counted = re.findall(r"^\| `(\S+\.py)` \| [^|]+ \| (\d+) \|$", text, re.MULTILINE)
    assert len(counted) == 2
    for name, lines in counted:
        assert len(page(ROOT / name).splitlines()) == int(lines), name


# -- names, paths, links --------------------------------------------------------------------------


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
    if (folder / "__init__.py").is_file():
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


def test_the_resolver_knows_what_is_there():
    assert defined("defenses.sfl_vae.SFLVAE.train_step")
    assert defined("models.resnet.VARIANTS")
    assert defined("experiments.presets.profile")
    assert defined("experiments.probes.distances.distances")
    assert defined("experiments.presets.shared.attacked_copies")
    assert not defined("experiments.presets.shared.nothing")
    assert not defined("defenses.sfl_vae.SFLVAE.nothing")
    assert not defined("defenses.sfl_vae.nothing")
    assert not defined("defenses.nothing")


@every_page
def test_named_code_exists(path):
    text = page(path)
    dotted = re.findall(rf"`((?:{PACKAGES})\.\w[\w.]*)`", text)
    assert [name for name in dotted if not defined(name)] == []
    files = re.findall(rf"`((?:{PACKAGES}|docs|tests|notebooks|benchmarks)/[\w./<>]*)`", text)
    files = [name for name in files if not RUN_WRITES.match(name) and name != SCRATCH]
    assert [name for name in files if not (ROOT / name).exists()] == []
    attributes = re.findall(r"`([A-Z]\w+Config)\.(\w+)`", text)
    config = names_in(ROOT / "experiments" / "config.py")
    for name, attribute in attributes:
        members = [ast.unparse(node) for node in getattr(config[name], "body", [])]
        assert any(member.startswith(f"{attribute}:") for member in members), (name, attribute)


@every_page
def test_links_lead_somewhere(path):
    text = page(path)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        place, _, anchor = link.partition("#")
        target = (path.parent / place).resolve() if place else path
        assert target.exists(), link
        if anchor:
            there = headings if target == path else re.findall(r"(?m)^#+ (.+)$", page(target))
            assert anchor in {slug(heading) for heading in there}, link


def slug(heading: str) -> str:
    """The anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@every_page
def test_every_table_begins_with_a_heading(path):
    """A blank line within a table would end it: what follows is shown as plain text."""
    for table in re.findall(r"(?:^\|.*\n)+", page(path), re.MULTILINE):
        first, second, *_ = [*table.splitlines(), ""]
        assert re.fullmatch(r"\|(?: :?-+:? \|)+", second), f"no heading above: {first}"


@every_page
def test_deviations_are_lists_and_not_cells(path):
    """Cells of hundreds of characters cannot be read; those of judged claims are generated."""
    text = re.sub(r"<!-- table:(\S+) -->.*?<!-- /table:\1 -->", "", page(path), flags=re.DOTALL)
    if path == INDEX:  # what a profile cuts is one sentence of the profile's
        text = text.split("## What each profile cuts")[0]
    written = [
        cell for line in re.findall(r"^\|.*$", text, re.MULTILINE) for cell in line.split("|")
    ]
    assert [cell for cell in written if len(cell) > 260] == []


@every_page
def test_words_are_those_of_the_field(path):
    assert re.findall(rf"\b(?:{FORMER})\b", page(path), re.IGNORECASE) == []
