-- After the last down file the bookkeeping of revisions is ours too: without it nothing of this project is left.
DROP TABLE IF EXISTS content_orchestration_version
