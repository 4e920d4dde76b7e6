"""Questions to each row of a table, in one line: `po.map`, `po.filter`, `po.extract`, `po.classify`, and `df.po`.

Each is a pipeline with one map, and a run of it. For other rooms: `operations`, and `watching` for a face that draws
the runs that are waited for.
"""
