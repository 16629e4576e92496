"""Plans and usage."""
