"""Which tables does the platform own? External assets only."""
