"""Help while a pipeline's YAML is written: the schema of the text, where the cursor is, what may stand there."""
