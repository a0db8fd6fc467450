"""Everything that is shown, drawn from result rows and from nothing else.

Why a package of its own: a figure must be redrawn in seconds, without a network, a data set or a
deep learning library in the process, and every plotted point must lead back to a row of a
committed file. Nothing in here imports ``models``, ``attacks``, ``defenses`` or ``experiments``,
or knows a paper: what a figure, a table or a claim is of is declared in ``papers``.

The modules, from the ground up: ``files`` (writing in one step), ``row`` (one number and its
identity), ``store`` (the files that keep rows), ``exhibit`` (the words in which papers declare
figures and tables), ``sheet`` (an exhibit filled in: points with their intervals), ``markdown``
(sheets as tables), ``printed`` (what the publications print), ``evidence`` and ``judges`` (how
rows judge a claim), ``claims`` (claims and verdicts), ``style``, ``panels`` and ``pictures`` (how
figures look), ``figures`` (an exhibit drawn) and ``report`` (one page of all).
"""

from __future__ import annotations
