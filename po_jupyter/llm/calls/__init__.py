"""Durable model calls: journal, cache, admission, retry, and the chat that goes through all four.

For other rooms: `journaled_chat.JournaledChat`, `CallScope`; `pending_call.PendingCall`; the protocols that a run
implements (`journal.Journal`, `cache.AnswerStore`, `admission.Admission`); `retry.backoff_delay`, `with_retry`.
"""
