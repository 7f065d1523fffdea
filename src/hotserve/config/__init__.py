"""Flags and config files, read once into frozen values."""
