"""The local server and its command line. This package never ships to Lambda (``handler/Makefile``)."""
