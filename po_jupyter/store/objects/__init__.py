"""Objects that several machines reach: files of runs and rows of seeds, in a shared directory or a bucket (S3).

For other rooms: `opening.open_objects`, `shared_files.SharedFiles` and, for whoever writes another place,
`protocol.ObjectStore`.
"""
