"""Can it be brought back?"""
