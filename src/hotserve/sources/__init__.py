"""Where versions come from: storages, polled, and what they hold. Knows nothing of formats."""
