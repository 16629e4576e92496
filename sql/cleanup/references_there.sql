-- One entry of the index of references answers; a table without any looks like one that was lost.
SELECT EXISTS (SELECT FROM user_assets WHERE content_render_reference(metadata) IS NOT NULL) AS present
