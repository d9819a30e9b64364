"""Losses of logits, one file a method."""
