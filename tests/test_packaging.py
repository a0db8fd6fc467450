"""What ``pip install .`` brings, and what an import says where another package is in the way."""

from __future__ import annotations

import email
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = ("attacks", "defenses", "experiments", "models", "papers", "results", "validation")
DATA = {"experiments/operation_counts.json", "results/paper_values.json"}
IMPORT = "import attacks, defenses, experiments.zoo, models, results; print(defenses.__file__)"


def python(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
        timeout=300,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """The wheel of the working tree, built without network and without a trace in the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    built = python(
        *("-W", "ignore", "-c", "import setuptools; setuptools.setup()", "-q"),
        *("egg_info", "--egg-base", str(folder)),
        *("build", "--build-base", str(folder / "build")),
        *("bdist_wheel", "--bdist-dir", str(folder / "tree"), "--dist-dir", str(folder)),
        cwd=ROOT,
    )
    assert built.returncode == 0, built.stderr
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def modules() -> set[str]:
    """Every Python file of our packages, by its path in the repository."""
    return {
        file.relative_to(ROOT).as_posix()
        for package in OURS
        for file in (ROOT / package).rglob("*.py")
        if (file.parent / "__init__.py").is_file()
    }


def test_a_wheel_holds_our_packages_and_their_numbers_alone(wheel):
    files = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in files} == {
        name for name in OURS if (ROOT / name / "__init__.py").is_file()
    }
    assert {name for name in files if name.endswith((".keras", ".csv", ".png"))} == set()
    assert files == modules() | DATA


def test_a_wheel_asks_for_the_pinned_versions(wheel):
    (metadata,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
    asked = email.message_from_bytes(wheel.read(metadata)).get_all("Requires-Dist")
    asked = [name for name in asked if "extra ==" not in name]
    lines = (ROOT / "requirements-runtime.txt").read_text().splitlines()
    pins = [line.split("#")[0].strip() for line in lines]
    assert [re.sub("[-_]", "-", name) for name in asked] == [
        re.sub("[-_]", "-", pin) for pin in pins if pin
    ]
    assert all("==" in pin for pin in pins if pin)
    assert "filelock" in "".join(asked)
    assert "-r requirements-runtime.txt" in (ROOT / "requirements.txt").read_text().splitlines()


def test_an_installed_wheel_is_imported_from_anywhere(wheel, tmp_path):
    installed, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    elsewhere.mkdir()
    wheel.extractall(installed)
    imported = python("-c", IMPORT, cwd=elsewhere, PYTHONPATH=str(installed))
    assert imported.returncode == 0, imported.stderr
    assert Path(imported.stdout.strip()) == installed / "defenses" / "__init__.py"


@pytest.mark.parametrize("name", ["models", "attacks"])
@pytest.mark.parametrize("file", ["{}/__init__.py", "{}.py"])
def test_another_package_of_our_name_is_pointed_out_in_one_sentence(name, file, tmp_path):
    path = tmp_path / file.format(name)
    path.parent.mkdir(exist_ok=True)
    path.touch()
    before = f"{tmp_path}{os.pathsep}{ROOT}"
    imported = python("-c", "import defenses", cwd=tmp_path, PYTHONPATH=before)
    assert imported.returncode == 1
    other = path.parent if path.name == "__init__.py" else path
    assert imported.stderr.splitlines()[-1] == (
        f"ImportError: Expected the package {name!r} at {ROOT / name}, received the one at "
        f"{other.resolve()}: put {ROOT} first on the path (PYTHONPATH), or rename or remove the "
        f"other {name!r}."
    )


def test_a_missing_package_is_named(tmp_path):
    (tmp_path / "defenses").symlink_to(ROOT / "defenses")
    imported = python("-c", "import defenses", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert f"Expected the package 'models' at {ROOT / 'models'}, received none" in imported.stderr
