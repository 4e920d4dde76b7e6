"""The workers of this machine: queue, launcher, zygotes, their processes, the gateway they connect to, and what becomes of a run whose worker ended.

For the rest of the orchestrator: `supervisor.Supervisor` and `gateway.WorkerGateway` (made by the dispatcher),
`zygote_pool.ZygotePool`, `queue.RunQueue`, `rate_limit_server`.
"""
