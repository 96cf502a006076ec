"""The applications of docs/examples run as their README files say."""
