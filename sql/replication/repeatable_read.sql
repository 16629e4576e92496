-- One snapshot for the whole transaction; nothing is written in it.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY
