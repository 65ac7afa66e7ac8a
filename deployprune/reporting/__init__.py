"""Views of a run directory, on machines without torch."""
