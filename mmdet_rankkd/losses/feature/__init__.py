"""Losses of feature maps, one file a method."""
