"""Networks and the input pipeline, timed beside their peers."""
