"""Is usage true?"""
