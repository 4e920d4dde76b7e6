"""The verbs of `po`: one module for each group of them, imported when one of its verbs is used."""
