"""Accounts of the gateway: what each user may use, has reserved and has used; the queue before it, and the ledger."""
