"""The webhook: a POST to the application's own server for every stored file."""
