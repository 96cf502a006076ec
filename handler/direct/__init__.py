"""Direct uploads: a file goes straight to the storage and is then promoted to ``files/``. No Flask."""
