"""hotserve: a model server in Python with TensorFlow Serving's APIs."""
