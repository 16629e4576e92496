"""What `content-orchestration doctor` looks at: the variables, the tiers, files and services that they name.

What is made of it, and how long it may take, is `core/operations/doctor*.py`'s. No Dagster here: it costs a second.
"""
