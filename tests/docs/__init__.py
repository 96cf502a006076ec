"""The documents: what they say is true, and their snippets run."""
