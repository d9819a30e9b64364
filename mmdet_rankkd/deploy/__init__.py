"""The student in files that other programs read."""
