"""HTTP to a vendor: the client, bounded bodies, errors, server-sent events, readers of responses.

For other rooms: `http.Http` (the connections), `exchange.ProviderEndpoint`. Authors of providers import
`po_jupyter.providers` instead.
"""
