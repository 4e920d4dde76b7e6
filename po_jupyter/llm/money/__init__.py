"""Tokens and prices: token counts before a call, its cost after it.

For other rooms: `pricing.PriceBook` (made of the setting `prices`), `tokens.bound_request`, `tokens.estimate`.
"""
