"""Hands the parts to each other, starts them in order, and stops them in order."""
