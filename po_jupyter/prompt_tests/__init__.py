"""Tests of prompts: cases in a YAML file, run with recorded answers in a data directory of their own.

file ──► `cases` ──► `runner`: a private orchestrator whose vendors are an `exchange_server` on loopback
                       answers from `recordings`, or live from the vendor and then recorded
run ──► `expectations` ──► what failed ──► `reports`: text, JUnit XML

For other rooms: `cases.read_cases`, `runner.PromptTests`, `reports`.
"""
