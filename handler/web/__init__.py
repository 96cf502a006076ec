"""Around every request: access, tokens, forms, digests, dialects, responses, hooks and CORS."""
