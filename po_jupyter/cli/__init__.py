"""The `po` command: a face on the client. `verbs` has a module for each group of verbs; `main.VERBS` says which.

For other rooms: `main.po`, the click group (`%po` of the notebook), and `main.main`, the program.
"""
