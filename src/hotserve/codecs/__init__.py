"""Bytes to tensors and back, for each wire format."""
