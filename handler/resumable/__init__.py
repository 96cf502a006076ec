"""Resumable uploads: a file comes in pieces, by tus 1.0 or by the IETF's draft. No Flask."""
