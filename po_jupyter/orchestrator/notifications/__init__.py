"""Notifications: people are told of ends, failures and gates by webhooks, mail and chat, though nobody looks.

For others: `service.notifier_of`, which the holder of the store runs, and `report.channel_reports`. A message is
durable before it is sent, in the same write that says how far the run's log was read (`outbox`), so that a killed
server loses none and sends none under another id.
"""
