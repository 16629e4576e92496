"""What the header of each picture format claims, read without decoding. One format a module."""
