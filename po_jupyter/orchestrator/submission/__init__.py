"""Submission: requests are read, checked and made durable; registered pipelines; uploads of rows.

For the rest of the orchestrator: `service.Submissions`, `pipelines.PipelineLibrary` and `PipelineRegistry`,
`planner.RunPlanner`, `request` (the body of `POST runs`), `pipeline_files.PipelineFiles`.
"""
