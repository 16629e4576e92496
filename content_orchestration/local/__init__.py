"""The embedded default: servers, the ZeroDB stand-in, demo data. Production never imports this."""
