"""Budgets: hard limits of money and tokens for a run, its tasks and its owner's day.

The worst case of a call is reserved before it, its usage is settled after it. For other rooms: `build` (`build_budget`,
`task_account`, `warning_emitter`), `guard.BudgetGuard`, `account.reserved`, `batch_hold.BatchHold`, and `daily_usage`
for reports.
"""
