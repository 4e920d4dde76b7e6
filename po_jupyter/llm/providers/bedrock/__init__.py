"""Amazon Bedrock: the Converse API, signed by botocore or with a key of Bedrock's own."""
