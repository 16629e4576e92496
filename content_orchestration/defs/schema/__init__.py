"""Are the tiers shaped right?"""
