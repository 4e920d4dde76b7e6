"""The model gateway as a JupyterHub service: the team's keys and limits outside of users' processes.

`python -m po_jupyter.hub --config limits.yaml`. It speaks the vendors' own wires below `services/po/PROVIDER/`, knows
users by their hub tokens, puts the team's key in, reserves the most that a call may cost before it goes out, and
settles what it did cost. It has keys and a ledger; no user's code, no templates and no runs. Other rooms use nothing of
it: they speak HTTP.
"""
