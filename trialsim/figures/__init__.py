"""One function per figure: it takes an Axes and returns it."""
