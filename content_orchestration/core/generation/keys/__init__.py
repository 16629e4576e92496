"""Keys that tenants bring for providers: sealed in the database, opened only by jobs, never shown."""
