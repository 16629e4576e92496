"""Do the copies agree?"""
