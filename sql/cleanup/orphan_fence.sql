-- Nobody called it back: what is deleted next is this object and no other.
UPDATE cleanup_quarantine SET size_bytes = %(size_bytes)s, etag = %(etag)s, generation = %(generation)s
WHERE quarantine_id = %(quarantine_id)s AND state = 'moving'
  AND NOT EXISTS (SELECT FROM user_assets a WHERE content_render_reference(a.metadata) = subject_id::uuid)
