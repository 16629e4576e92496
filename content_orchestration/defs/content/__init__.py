"""Is content reachable, and does nothing wait that should not?"""
