"""Regenerates the papers' figures and tables: train, attack, purify, evaluate, draw.

    python run_all.py                            the demo profile: minutes, no download
    python run_all.py --profile quick            real data, hours on two cores
    python run_all.py --only 003.F3.6 003.T4     some figures or tables, ids or prefixes
    python run_all.py --list                     what there is, and what is not implemented yet
    python run_all.py --profile full --dry-run   what it would do, and about how long it takes
    KERAS_BACKEND=jax python run_all.py          the same on JAX

A run stopped at any moment continues where it was when the same command is given again.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from validation import check_choice, check_integer, check_number

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# TensorFlow's faster convolutions, which it leaves off on processors without AVX-512: trainings
# were seen to take a half to three quarters of the time. Results differ in rounding alone.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

ROOT = Path(__file__).resolve().parent
BACKENDS = {"tensorflow": "requirements.txt", "jax": "requirements-jax.txt"}
"""What ``KERAS_BACKEND`` may name, and what brings it."""
KEPT = "What was measured before is kept, and the same command continues from there."


_HOW = ("time_limit", "executor", "rows_only")
_CONFLICTS = {
    "list": ("figures_only", "dry_run", "pack", "unpack", "train", "pdf", *_HOW),
    "figures_only": ("dry_run", "pack", "unpack", "train", "data_dir", *_HOW),
    "dry_run": ("pack", "unpack", "pdf", *_HOW),
    "pack": ("unpack", "only", "dataset", "data_dir", "train", "pdf", *_HOW),
    "unpack": ("only", "dataset", "data_dir", "train", "pdf", *_HOW),
}
"""Options, and those that would be ignored beside them."""


class _Parser(argparse.ArgumentParser):
    """Refuses in one line, as everything else here does."""

    def error(self, message: str) -> NoReturn:
        unknown = "unrecognized arguments:"
        message = message.replace(unknown, "expected the options that --help lists, received")
        self.exit(2, f"error: {message}. See run_all.py --help.\n")


def _number(read: Callable[[str], float], expected: str, remedy: str) -> Callable[[str], float]:
    """A type of an option: what ``read`` returns, unless it raises a ValueError."""

    def number(text: str) -> float:
        try:
            return read(text)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"expected {expected}, received {text!r}; {remedy}"
            ) from None

    return number


_seed = _number(
    lambda text: check_integer("seed", int(text)), "an integer of at least 0", "pass 0, 1, 2, ..."
)
_workers = _number(
    lambda text: check_integer("workers", int(text), at_least=1, at_most=1000),
    "an integer from 1 to 1000",
    "pass 2, 4, ...",
)
_minutes = _number(
    lambda text: check_number("minutes", float(text), above=0, at_most=1e6),
    "a number above 0",
    "pass 10, say",
)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = _Parser(
        description=__doc__.split("\n\n")[0],
        formatter_class=argparse.RawTextHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--profile", default="demo", help="demo (default), quick, full or paper")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="ID", help="figures and tables, ids or prefixes"
    )
    parser.add_argument(
        "--dataset", nargs="+", default=[], metavar="NAME", help="data sets of the profile"
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        help="folder of <name>.npz or of TensorFlow Datasets (else TFDS_DATA_DIR)",
    )
    parser.add_argument("--seed", type=_seed, default=0, help="seed of everything (default 0)")
    parser.add_argument(
        "--train",
        action="store_true",
        help="train everything, also what results/zoo holds (else taken from there)",
    )
    parser.add_argument(
        "--devices",
        choices=("one", "all"),
        default="one",
        help="train on one GPU (default) or share each batch among all",
    )
    parser.add_argument(
        "--figures-only", action="store_true", help="redraw from the rows that are there"
    )
    parser.add_argument("--pdf", action="store_true", help="write figures as PDF too")
    parser.add_argument(
        "--list", action="store_true", help="list every figure and table of the papers, and stop"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="say what is there, what would be trained and about how long it takes, and stop",
    )
    parser.add_argument(
        "--time-limit",
        type=_minutes,
        metavar="MINUTES",
        help="stop between two steps of work, with status 3 if something is left;\n"
        "the same command continues. The first step is always taken",
    )
    parser.add_argument(
        "--pack",
        type=Path,
        metavar="FILE.tar",
        help="write models, rows and outcomes into files of at most 16 MB, and stop",
    )
    parser.add_argument(
        "--unpack",
        type=Path,
        metavar="FILE.tar",
        help="take over what --pack wrote elsewhere, and stop",
    )
    parser.add_argument(
        "--executor",
        choices=("here", "local", "slurm"),
        default="here",
        help="measure in this process (default), or each figure or table in a process of its\n"
        "own, on this machine or by Slurm (needs submitit)",
    )
    parser.add_argument(
        "--workers",
        type=_workers,
        metavar="N",
        help="how many of them at once (local: 2, slurm: all)",
    )
    parser.add_argument(
        "--rows-only",
        action="store_true",
        help="measure without drawing or publishing, as the processes of --executor do",
    )
    parser.add_argument(
        "--results-dir", type=Path, default=ROOT / "results", help="where rows and figures go"
    )
    parser.add_argument(
        "--artifacts-dir", type=Path, default=ROOT / "artifacts", help="where models and sets go"
    )
    options = parser.parse_args(arguments)
    for one, others in _CONFLICTS.items():
        for other in others:
            if _is_given(options, one) and _is_given(options, other):
                pair = f"{_option(one)} and {_option(other)}"
                parser.error(f"expected one of {pair}, received both; drop one")
    return options


def _is_given(options: argparse.Namespace, name: str) -> bool:
    return getattr(options, name) not in (None, False, [], "here")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def main(arguments: list[str] | None = None) -> int:
    """Runs what the command line asks for; returns the exit status."""
    options = parse_arguments(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    # TensorFlow warns of every further model whose predictions it compiles.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        return _carry_out(options, [__file__, *(sys.argv[1:] if arguments is None else arguments)])
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever reads what is printed, such as ``head``, has enough of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        remedy = "Free space, or grant access to it, or name another folder."
        print(f"error: {str(error).rstrip('.')}. {remedy} {KEPT}", file=sys.stderr)
        return 2
    except MemoryError:
        remedy = "End other programs, or choose a smaller profile."
        print(f"error: the memory is full. {remedy} {KEPT}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. The same command continues from here.", file=sys.stderr)
        return 130
    except Exception as error:
        error.add_note(KEPT)
        raise


def _check_backend() -> None:
    backend = check_choice("KERAS_BACKEND", os.environ["KERAS_BACKEND"], BACKENDS)
    if importlib.util.find_spec(backend) is None:
        raise ValueError(
            f"Expected the package {backend}, which KERAS_BACKEND names, received none. Install "
            f"{BACKENDS[backend]}, or set KERAS_BACKEND to the backend that is installed."
        )


def _carry_out(options: argparse.Namespace, arguments: list[str]) -> int:
    # Imported here so that --help and a mistyped option answer at once.
    from experiments import presets, runs
    from papers import catalog

    profile = presets.profile(options.profile)
    names = runs.choose_datasets(profile, options.dataset)
    if options.list:
        known = [presets.profile(name) for name in presets.known_profiles()]
        exhibits = catalog.select(options.only)
        print(catalog.listing(exhibits, [(p.name, p.cuts, tuple(p.plans)) for p in known]))
        return 0
    run = runs.Run(
        profile=profile,
        exhibits=runs.choose_exhibits(profile, options.only, names),
        dataset_names=names,
        seed=options.seed,
        results_dir=options.results_dir,
        artifacts_dir=options.artifacts_dir,
        data_dir=options.data_dir,
        from_zoo=not options.train,
        pdf=options.pdf,
        rows_only=options.rows_only,
    )
    for exhibit in run.exhibits if options.only else ():
        if not exhibit.implemented:
            print(f"{exhibit.id}  {exhibit.title}: {exhibit.note}")
    if options.figures_only:
        runs.redraw(run)
        return 0
    _check_backend()
    if file := options.pack or options.unpack:
        from experiments import packing

        runs.check_folders(run)
        done = packing.pack(run, file) if options.pack else packing.unpack(run, file)
        print(f"{'Packed' if options.pack else 'Taken over'}: {done}.")
        return 0
    if options.dry_run:
        from experiments import planning

        print(planning.describe(run))
        return 0
    runs.check_folders(run)
    # The backend is imported from here on.
    from experiments.memory import keep_freed_memory

    keep_freed_memory()
    from experiments import devices, executors, scheduler
    from experiments.time_limit import STOPPED, TimeIsUp, TimeLimit, limited

    minutes = options.time_limit
    try:
        if options.executor != "here":
            command = functools.partial(executors.job_command, [sys.executable, *arguments])
            executors.run_jobs(
                run,
                command,
                executor=options.executor,
                workers=options.workers,
                minutes=minutes,
            )
            return 0
        devices.use(options.devices)
        with limited(TimeLimit(minutes=minutes) if minutes else None):
            scheduler.run_all(run)
    except TimeIsUp:
        from experiments import planning

        print(
            f"Stopped by the time limit of {minutes:g} minutes; the same command continues. "
            f"{planning.summary_line(run)}"
        )
        return STOPPED
    return 0


if __name__ == "__main__":
    sys.exit(main())
