"""Shapes of the three tiers: create, check, roll back."""
