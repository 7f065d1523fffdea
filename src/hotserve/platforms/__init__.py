"""Loaders, one platform a file. Importing this package imports no framework."""
