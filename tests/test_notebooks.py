"""The notebooks: they run, define nothing, agree with their plain-text source and show results.

The ``.py`` file is the one to edit. ``python tests/test_notebooks.py`` runs each and writes its
``.ipynb`` with fresh outputs.
"""

from __future__ import annotations

import ast
import os
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "notebooks").glob("*.py"))
NAMES = [path.stem for path in SOURCES]
TIMEOUT_SECONDS = 400
#: What the test that runs a notebook adds to its cell of parameters; all else is as committed.
SMALLER = {
    "02_accuracy_and_the_attacker": "num_images = 10",
    "05_train_your_own": "epochs = dict.fromkeys(epochs, 1)",
}
FORBIDDEN = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def executed(source: Path, change: str = "") -> nbformat.NotebookNode:
    """The notebook of a plain-text source, with the outputs of a run in its own folder.

    ``change`` is a line for the end of the cell with the tag "parameters".
    """
    notebook = jupytext.read(source)
    # Cell ids are random by default, and every run would change the file.
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
        if change and "parameters" in cell.metadata.get("tags", ()):
            cell.source += f"\n{change}"
            change = ""
    assert not change, f"{source.name} has no cell of parameters"
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(source.parent)}},
    )
    client.execute()
    return notebook


def write(source: Path) -> Path:
    """Runs a source and writes the notebook beside it."""
    notebook = executed(source)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of day
        if cell.cell_type == "code":
            # Standard error speaks of the machine (missing GPU, progress bars), not of the result.
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    version = notebook.metadata.get("language_info", {}).get("version", "")
    if version:
        notebook.metadata["language_info"]["version"] = ".".join(version.split(".")[:2])
    path = source.with_suffix(".ipynb")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(jupytext.writes(notebook, fmt="ipynb") + "\n", encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def committed(source: Path) -> nbformat.NotebookNode:
    """The notebook as it is in the repository."""
    return nbformat.read(source.with_suffix(".ipynb"), as_version=4)


def code_of(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The code cells."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_notebooks_and_each_has_its_source():
    assert NAMES
    assert sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb")) == NAMES


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_it_defines_nothing(source):
    tree = ast.parse(source.read_text(encoding="utf-8"))
    defined = [f"line {node.lineno}" for node in ast.walk(tree) if isinstance(node, FORBIDDEN)]
    assert not defined, f"{source.name} defines something; move it into a package: {defined}"
    packages = {"attacks", "defenses", "experiments", "models", "papers", "results"}
    imported = {
        node.module.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
    }
    assert imported & packages


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_notebook_and_source_agree(source):
    plain, notebook = jupytext.read(source), committed(source)
    assert [(c.cell_type, c.source) for c in notebook.cells] == [
        (c.cell_type, c.source) for c in plain.cells
    ], f"Edit {source.name}, then run: python tests/test_notebooks.py"
    formats = notebook.metadata["jupytext"]["formats"]
    assert formats == plain.metadata["jupytext"]["formats"] == "ipynb,py:percent"


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_outputs_are_committed(source):
    cells = code_of(committed(source))
    # Run from top to bottom in one go, not in the order of somebody's afternoon.
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert {"image/png", "text/markdown"} <= kinds
    assert any(output.get("name") == "stdout" for output in outputs)


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_it_runs(source):
    fresh = code_of(executed(source, SMALLER.get(source.stem, "")))
    known = code_of(committed(source))
    errors = [o for cell in fresh for o in cell.outputs if o.output_type == "error"]
    assert not errors, errors
    for cell, expected in zip(fresh, known, strict=True):
        kinds, expected_kinds = (
            {kind for output in c.outputs for kind in output.get("data", {})}
            for c in (cell, expected)
        )
        assert kinds == expected_kinds, cell.source


if __name__ == "__main__":
    for path in SOURCES:
        print(write(path).relative_to(ROOT))
