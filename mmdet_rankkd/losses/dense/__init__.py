"""Losses of dense heads: of their boxes, and through their layers."""
