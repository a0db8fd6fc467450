"""Everything that is shown, drawn from result rows and from nothing else.

Why a package of its own: a figure must be redrawn in seconds, without a network, a data set or a
deep learning library in the process, and every plotted point must lead back to a row of a
committed file. Nothing in here imports `models`, `attacks`, `defenses` or `experiments`.

The modules, from the ground up: `rows` (one number, its identity, and the files that keep it),
`statistics` (intervals), `paper` (what the publications print), `curves` (rows grouped into
lines), `headlines` (which line stands for a defense), `style` (palette and saving), `plots`,
`comparison_plots`, `feature_plots` and `image_grids` (figures), `tables` and `comparison_tables`
(Markdown), the `puvae_*` modules (the same for the PuVAE paper), `claims` (each claim of the
dissertation's chapters 3 to 5 and of the PuVAE paper against the rows), `report` (one page of all).
"""

from __future__ import annotations
