-- The time by the clock that stamps windows and changes.
SELECT clock_timestamp() AS now
