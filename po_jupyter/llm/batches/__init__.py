"""Batch APIs: many requests handed over at once, answered within a day, at half the price.

For other rooms: `protocol` (the seam `Batches`, `BatchStatus`, `BatchLine`, `batch_api_of`).
"""
