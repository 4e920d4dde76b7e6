"""Helpers of the tests, by what they stand for. A process that a test starts finds them on the path of the checkout."""
