"""The storage in an S3 bucket."""
