"""One page with every figure, table and claim of a profile."""

from __future__ import annotations

from pathlib import Path

from results import claims, tables
from results.comparisons import NOT_MEASURED, claims_table
from results.files import write_atomically
from results.labels import threat_words
from results.row import Row, warnings
from results.rows import RowStore
from results.sections import Section, sections
from results.selection import PUVAE_PAPER

THREAT_WARNING = (
    "> **Read this first.** Figures of the threat model `oblivious` attack the bare classifier; "
    "the attacker does not know that a purifier stands in front of it; so does half of the "
    "images of `mixed`, and the other half is made on other classifiers. Such numbers say how much "
    "of a *given* perturbation is removed. They are **not robustness**: an attacker who knows the "
    "defense does much better, and purifiers of this kind are known to fall to one. The figures "
    "of the threat model `framework` show a first step in that direction."
)

CLAIMS_NOTE = (
    "Each verdict follows thresholds that are stated in `results/claims_chapter3.py` and its "
    "neighbours, one function per claim. Accuracies are means over the targets (but each target "
    "of the PuVAE paper stands for itself); a mean over attacks and epsilons gives every measured "
    "pair of the two the same weight. Intervals of a difference take its two sides as independent "
    "unless it was measured image by image."
)


def write_report(root: str | Path, profile: str, cuts: str, *, seed: int | None = None) -> Path:
    """Writes `reports/<profile>.md` and its tables as `tables/<profile>/*.md`.

    Figures are shown where they have been drawn, `figures/<profile>/<id>_<dataset>.png`.

    Args:
        root: The folder that holds `raw/`.
        profile: Name of the profile.
        cuts: What the profile cuts against the papers.
        seed: Only rows of this seed; None takes the mean over all.

    Returns:
        Path of the report.

    Raises:
        ValueError: If there are no rows.
    """
    root = Path(root)
    rows = [row for row in RowStore(root, profile).read() if seed in (None, row.seed)]
    if not rows:
        raise ValueError(
            f"Expected rows under {root / 'raw' / profile}"
            f"{'' if seed is None else f' with seed {seed}'}, received none. Run the profile "
            f"first: python run_all.py --profile {profile}"
        )
    written = report_tables(rows)
    for name, table in written.items():
        write_atomically(root / "tables" / profile / f"{name}.md", table.encode("utf-8"))
    shown = sections(rows)
    parts = [
        f"# Results of the profile `{profile}`",
        f"Drawn from the rows under [`raw/{profile}`](../raw/{profile}) alone; every number here "
        "is in one of them.",
        f"**What this profile cuts.** {cuts}" if cuts else "",
        THREAT_WARNING,
        _flag_note(rows),
    ]
    if "claims" in written:
        parts += ["## Claims", CLAIMS_NOTE, written["claims"]]
    if "clean_accuracy" in written:
        parts += ["## Clean accuracy", written["clean_accuracy"]]
    parts.append("## Figures")
    for section in shown:
        parts += _section_parts(root, profile, section, written[section.stem])
    parts += _picture_parts(root, profile, shown)
    path = root / "reports" / f"{profile}.md"
    text = "\n\n".join(part.strip() for part in parts if part) + "\n"
    write_atomically(path, text.encode("utf-8"))
    return path


def report_tables(rows: list[Row]) -> dict[str, str]:
    """Every table of a report by name, for `tables.update_between_markers` too.

    Args:
        rows: Rows of a profile.

    Returns:
        `"claims"` and `"clean_accuracy"` where measured, and one table per figure by its stem.
        The PuVAE paper's tables hold their own clean accuracies.
    """
    found = {}
    judged = claims.evaluate(rows)
    if any(claim.verdict != NOT_MEASURED for claim in judged):
        found["claims"] = claims_table(judged)
    clean = [row for row in rows if row.metric == "accuracy" and row.epsilon == 0]
    if clean := [row for row in clean if not row.experiment.startswith(PUVAE_PAPER)]:
        found["clean_accuracy"] = tables.clean_table(clean)
    return found | {section.stem: section.table() for section in sections(rows)}


def _flag_note(rows: list[Row]) -> str:
    flagged = [row for row in rows if warnings(row)]
    if not flagged:
        return ""
    words = sorted({word for row in flagged for word in warnings(row)})
    return (
        f"{len(flagged)} of {len(rows)} rows carry a warning ({', '.join(words)}); they are drawn "
        "hollow and starred in tables."
    )


def _picture(root: Path, profile: str, stem: str, title: str) -> list[str]:
    if not (root / "figures" / profile / f"{stem}.png").exists():
        return []
    return [f"![{title}](../figures/{profile}/{stem}.png)"]


def _section_parts(root: Path, profile: str, section: Section, table: str) -> list[str]:
    parts = [f"### {section.title}", *_picture(root, profile, section.stem, section.title)]
    attacked = [row.threat_model for row in section.rows if row.attack != "none"]
    if attacked:
        parts.append(f"Threat model {threat_words(attacked)}.")
    return [*parts, table]


def _picture_parts(root: Path, profile: str, shown: list[Section]) -> list[str]:
    """Image grids, one for each `.npz` beside the rows."""
    stems = {section.stem for section in shown}
    parts: list[str] = []
    for path in sorted((root / "raw" / profile).glob("*.npz")):
        stem = path.name.removesuffix(".npz")
        picture = _picture(root, profile, stem, stem)
        if picture and stem not in stems:
            parts += [f"### Images ({stem})", *picture]
    return parts
