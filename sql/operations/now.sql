-- The server's clock: what is measured is dated by it, not by whoever asks.
SELECT clock_timestamp() AS now
