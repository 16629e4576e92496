"""The content store: the one door through which content is written, read, changed and removed."""
