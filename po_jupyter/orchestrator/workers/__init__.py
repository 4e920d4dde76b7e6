"""The workers of this machine: queue, launcher, zygotes, their processes, their gateway, their ends.

For the rest of the orchestrator: `supervisor.Supervisor` and `gateway.WorkerGateway` (made by the dispatcher),
`zygote_pool.ZygotePool`, `queue.RunQueue`, `rate_limit_server`.
"""
