"""Load for any server with TensorFlow Serving's APIs: requests, connections, loops, and what became of the requests."""
