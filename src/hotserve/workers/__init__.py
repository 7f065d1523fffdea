"""Several processes that serve as one: the supervisor decides, and each worker carries it out."""
