"""An upload endpoint: one Flask app that runs on a laptop and, through aws-wsgi, in AWS Lambda."""
