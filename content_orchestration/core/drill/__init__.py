"""Disaster drills: a scratch world, a disaster in it, its detection, the recovery, the measurement."""
