"""Decide which files may be stored, by their names, sizes and contents.

The modules of this package are pure: they read no file, open no connection and import neither Flask nor AWS.
"""
