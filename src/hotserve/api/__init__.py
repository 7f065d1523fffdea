"""The wires: what REST and gRPC say, and what carries them."""
