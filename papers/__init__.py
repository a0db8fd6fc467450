"""The papers: what each shows and claims, as declarations alone."""
