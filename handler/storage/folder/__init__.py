"""The storage in a folder of this machine."""
