"""Are files stored, sized and described?"""
