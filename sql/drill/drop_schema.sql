-- Empties the drill's database. Runs behind the look at the mark, in one transaction with it.
DROP SCHEMA public CASCADE
