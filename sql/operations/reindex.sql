-- Builds the index anew beside the old one; readers and writers go on. Runs outside of a transaction.
REINDEX INDEX CONCURRENTLY {index}
