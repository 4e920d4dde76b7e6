"""Replaying recorded exchanges with vendors: `python -m po_jupyter.testing.replay FOLDER`.

A folder of cassettes (VCR's YAML, that of pydantic-ai with `parsed_body`, langchain's `.yaml.gz`) is read in
`cassettes`; `readings` reads each recorded response once more, straight after the vendor's reference and with none of
the product's code; `runner` sends it to the product's provider over a loopback server and compares the two.
"""
