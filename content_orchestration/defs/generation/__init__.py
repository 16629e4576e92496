"""Which batches run, does any of them wait, and what do they cost?"""
