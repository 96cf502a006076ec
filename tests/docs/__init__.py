"""The documents: their statements are true, and their snippets run."""
