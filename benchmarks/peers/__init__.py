"""Scripts that run in a peer's environment, not in ours: each prints one JSON object last. Nothing imports them."""
