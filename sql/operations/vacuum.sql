-- Marks the room of dead rows as free and counts anew what the planner believes. Runs outside of a transaction.
VACUUM (ANALYZE) {table}
