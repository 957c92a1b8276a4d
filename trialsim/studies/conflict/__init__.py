"""Published results that disagree: their bias taken off, weighed, walked through."""
