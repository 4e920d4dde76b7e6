"""Parts for tests of pipelines, providers and stores. Nothing here is imported by the product."""
