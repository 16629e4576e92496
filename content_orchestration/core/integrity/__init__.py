"""Comparison of the copies."""
