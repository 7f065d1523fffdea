"""Other engines for SavedModels: what they answer is compared with TensorFlow, and the fastest that agrees serves."""
