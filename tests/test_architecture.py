"""Which module may import which: read from the source, imports inside functions included."""

from __future__ import annotations

import ast
import graphlib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "validation": set(),
    "attacks": {"validation"},
    "models": {"validation"},
    "results": {"validation"},
    "papers": {"results", "validation"},
    "defenses": {"attacks", "models", "validation"},
    "experiments": {"attacks", "defenses", "models", "papers", "results", "validation"},
}
"""Our packages, and which others of ours each may import. None imports ``run_all``."""
OURS = {*MAY_IMPORT, "run_all"}
BACKENDS = {"jax", "keras", "tensorflow", "torch"}
every_package = pytest.mark.parametrize("package", MAY_IMPORT)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def sources() -> dict[str, Path]:
    """Every module of our packages that exist, by name."""
    files = (file for package in MAY_IMPORT for file in (ROOT / package).rglob("*.py"))
    return {module_name(file): file for file in files if (file.parent / "__init__.py").is_file()}


def imported_by(source: str, name: str, is_package: bool, known: set[str]) -> set[str]:
    """Modules that a module imports anywhere in its source, under ``TYPE_CHECKING`` too.

    ``from package import name`` imports the module ``package.name`` where there is one, and the
    package itself otherwise.
    """
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = name.split(".")[: None if is_package else -1]
            above = above[: len(above) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            inside = {f"{base}.{alias.name}" for alias in node.names}
            found |= {module if module in known else base for module in inside}
    return found - {name}


@cache
def imports() -> dict[str, set[str]]:
    known = set(sources())
    return {
        name: imported_by(path.read_text(), name, path.name == "__init__.py", known)
        for name, path in sources().items()
    }


def top(module: str) -> str:
    return module.split(".")[0]


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """Modules each of which is imported by the next, the first and last being one; or none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def test_imports_are_found_wherever_they_stand():
    source = """
import models.layers as of_models
from results import rows
from results import Row
if TYPE_CHECKING:
    from defenses.vqunet import VQUNet
def late():
    import tensorflow as tf
    from . import sibling, CONSTANT
    from .. import above
"""
    known = {"results.rows", "package.inner.sibling", "package.above"}
    expected = {"models.layers", "results.rows", "results", "defenses.vqunet", "tensorflow"}
    expected |= {"package.inner.sibling", "package.inner", "package.above"}
    assert imported_by(source, "package.inner.module", False, known) == expected
    assert imported_by("from . import sibling", "package.inner", True, known) == {
        "package.inner.sibling"
    }


def test_cycles_are_found():
    assert cycle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert sorted(set(cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}}))) == ["a", "b", "c"]


@every_package
def test_no_modules_of_a_package_import_each_other(package):
    inside = {name: found for name, found in imports().items() if top(name) == package}
    assert cycle({name: found & inside.keys() for name, found in inside.items()}) == []


def test_no_modules_import_each_other():
    assert cycle({name: found & imports().keys() for name, found in imports().items()}) == []


@every_package
def test_a_package_imports_only_what_lies_below_it(package):
    allowed = {package, *MAY_IMPORT[package]}
    refused = {
        (name, module)
        for name, found in imports().items()
        for module in found
        if top(name) == package and top(module) in OURS - allowed
    }
    assert refused == set()


@pytest.mark.parametrize("package", ["papers", "results", "validation"])
def test_results_are_read_without_a_backend(package):
    found = {
        (name, module)
        for name, modules in imports().items()
        for module in modules
        if top(name) == package and top(module) in BACKENDS
    }
    assert found == set()


def test_attacks_know_a_backend_only_where_it_is_their_business():
    found = {
        (name, top(module))
        for name, modules in imports().items()
        for module in modules
        if top(name) == "attacks" and top(module) in BACKENDS - {"keras"}
    }
    assert found == {
        ("attacks.engine", "tensorflow"),
        ("attacks.engine", "jax"),
        ("attacks.cleverhans_tensorflow", "tensorflow"),
        ("attacks.cleverhans_jax", "jax"),
    }
