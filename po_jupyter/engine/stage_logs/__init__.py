"""Logs of stages: what a stage, its libraries and its subprocesses print, in a file that grows while it runs.

For other rooms: `fd_redirect.stdio_redirect`, `capture.recover_live_files`, `live_file.stage_of_live_file`.
"""
