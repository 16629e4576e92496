"""Files: brought in, stored once a tenant, looked into safely, shrunk to the widths a page needs, described."""
