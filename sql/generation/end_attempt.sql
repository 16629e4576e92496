-- Money that was spent is written down whoever holds the item now: revision 0008 has the function.
SELECT generation_end_attempt(
    %(attempt_id)s, %(outcome)s, %(input_tokens)s::bigint, %(output_tokens)s::bigint, %(cost_usd)s::numeric, %(message)s) AS recorded
