"""The application: line, records, review, retraining and the command line."""
