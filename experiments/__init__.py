"""What is run: data sets, presets, and one entry per figure and table of the papers."""
