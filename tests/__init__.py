"""The tests; a folder for each room of the product, helpers in `tests.support`."""
