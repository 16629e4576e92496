"""Cleanup: what nobody saved or kept goes, in quarantine first, and nothing else does."""
