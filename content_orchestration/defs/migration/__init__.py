"""Are legacy rows in?"""
