"""HTTP in, HTTP out: one module for each group of routes. Helpers of several routes are in ``web/``."""
