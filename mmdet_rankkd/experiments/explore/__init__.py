"""A page that shows what detectors find, and where they differ."""
