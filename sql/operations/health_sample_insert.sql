-- What the probes of one tier came to at this moment.
INSERT INTO health_samples (tier, probes, failed, seconds, error)
VALUES (%(tier)s, %(probes)s, %(failed)s, %(seconds)s, %(error)s)
