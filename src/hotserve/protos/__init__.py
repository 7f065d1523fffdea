"""Our own .proto files, wire-compatible with TensorFlow's, in a private descriptor pool."""
