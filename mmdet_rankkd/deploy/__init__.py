"""The student in files that other programs read, and what it costs."""
