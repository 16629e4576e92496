-- Removes the record of restores and drills. Nothing that was restored is touched.
DROP TABLE restore_drills, restore_quarantine, restore_progress, restore_runs;
