"""One page with the claims, figures and tables of a profile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from results.claims import Claim, claims_table, judge_claims
from results.exhibit import DATASET_LABELS, KEPT, Exhibit, known_first, threat_words
from results.files import write_atomically
from results.judges import NOT_MEASURED
from results.markdown import sheet_table
from results.row import Row
from results.sheet import Sheet, fill
from results.store import RowStore

THREAT_WARNING = (
    "> **Read this first.** Figures of the threat model `oblivious` attack the bare classifier; "
    "the attacker does not know that a purifier stands in front of it; so does half of the "
    "images of `mixed`, and the other half is made on other classifiers. Such numbers say how much "
    "of a *given* perturbation is removed. They are **not robustness**: an attacker who knows the "
    "defense does much better, and purifiers of this kind are known to fall to one. The figures "
    "of the threat model `framework` show a first step in that direction."
)
CLAIMS_NOTE = (
    "Each verdict follows thresholds that stand with the claim in `papers/`, as does whether it "
    "can be judged at any size of the networks or at the papers' width alone, and why. Accuracies "
    "are means over the targets, or stand for each target; a mean over attacks and epsilons gives "
    "every measured pair of the two the same weight. Intervals of a difference take its two sides "
    "as independent unless it was measured image by image."
)
NOTHING_JUDGED = "The profile is too small to judge a claim."


def write_report(
    root: str | Path,
    profile: str,
    *,
    exhibits: Sequence[Exhibit],
    claims: Sequence[Claim],
    cuts: str,
    bears: str,
    seed: int | None = None,
) -> Path:
    """Writes ``reports/<profile>.md``, whose path is returned, and ``tables/<profile>/*.md``.

    Figures are shown where they have been drawn, ``figures/<profile>/<id>_<dataset>.png``.

    Args:
        root: The folder that holds ``raw/``.
        profile: Name of the profile.
        exhibits: What to show, in this order.
        claims: What to judge.
        cuts: What the profile cuts against the papers.
        bears: Which claims the profile can judge, see ``results.claims.judge_claims``.
        seed: Only rows of this seed; None takes the mean over all.

    Raises:
        ValueError: If there are no rows.
    """
    root = Path(root)
    store = RowStore(root, profile)
    rows = store.read(seed=seed)
    if not rows:
        seeds = sorted({row.seed for row in store.read()})
        raise ValueError(
            f"Expected rows of seed {seed} under {store.folder}, received those of {seeds}. Pass "
            f"one of them, or measure it: python run_all.py --profile {profile} --seed {seed}."
        )
    judged = judge_claims(claims, rows, bears)
    measured = any(one.verdict != NOT_MEASURED for one in judged)
    tables = {"claims": claims_table(judged)} if measured else {}
    datasets = known_first((row.dataset for row in rows), DATASET_LABELS)
    shown: list[str] = []
    for exhibit in exhibits:
        for dataset in filter(exhibit.applies_to, datasets):
            stem = f"{exhibit.id}_{dataset}"
            figure = f"figures/{profile}/{stem}.png"
            sheet = fill(exhibit, dataset, rows)
            if sheet.panels and exhibit.lines:
                tables[stem] = sheet_table(sheet)
            shown += _parts(sheet, figure if (root / figure).is_file() else "", tables.get(stem))
    for name, table in tables.items():
        write_atomically(root / "tables" / profile / f"{name}.md", table.encode())
    parts = [
        f"# Results of the profile `{profile}`",
        f"Drawn from the rows under [`raw/{profile}`](../raw/{profile}) alone; every number here "
        "is in one of them.",
        f"**What this profile cuts.** {cuts}" if cuts else "",
        THREAT_WARNING,
        _flag_note(rows),
        "## Claims",
        *([CLAIMS_NOTE, tables["claims"]] if measured else [NOTHING_JUDGED]),
        "## Figures and tables",
        *shown,
    ]
    path = root / "reports" / f"{profile}.md"
    text = "\n\n".join(part.strip() for part in parts if part) + "\n"
    write_atomically(path, text.encode())
    return path


def _flag_note(rows: Sequence[Row]) -> str:
    flagged = [row for row in rows if row.flags]
    words = sorted({word for row in flagged for word in row.flags})
    note = (
        f"{len(flagged)} of {len(rows)} rows carry a flag ({', '.join(words)}); they are drawn "
        "hollow and starred in tables."
    )
    return note if flagged else ""


def _parts(sheet: Sheet, figure: str, table: str | None) -> list[str]:
    """Title, picture, words and table of an exhibit; none without a table or drawn pictures."""
    exhibit = sheet.exhibit
    if table is None and not (figure and isinstance(exhibit.draw, KEPT)):
        return []
    label = DATASET_LABELS.get(sheet.dataset, sheet.dataset)
    title = exhibit.title if label in exhibit.title else f"{exhibit.title}, {label}"
    title = f"{title[:1].upper()}{title[1:]} ({exhibit.id})"
    parts = [f"### {title}"]
    parts += [f"![{title}](../{figure})", exhibit.caveat_of(sheet.rows)] if figure else []
    threats = {row.threat_model for row in sheet.rows} - {"none"} if table else set()
    parts += [f"Threat model {threat_words(threats, sheet.rows)}."] if threats else []
    return [*parts, table or ""]
