"""Queues over Redis, RabbitMQ and SQS: Celery's messages, moved by kombu, its messaging library.

Celery's own worker does not read them. Tried with 5.7: on Redis one message that is not JSON ends the whole worker and
is lost; content that is not accepted is acknowledged, so lost, on all brokers; its state is global to a process; its
reader of SQS knows no order of queues, so no priorities. What is here reads the same messages, one at a time in each
thread.
"""
