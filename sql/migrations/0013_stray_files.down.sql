-- Removes the record of compactions and of stray files. Files and history stay as they are.
DROP TABLE history_compaction_parts, history_compactions, stray_objects, stray_tenants, stray_looks;
