"""Runs come in: requests are read, checked and made durable; registered pipelines."""
