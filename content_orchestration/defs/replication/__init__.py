"""Is BigQuery up to date?"""
