-- What is in the platform's tier, for the summary after a local run. It reads every legacy row: not for production.
-- A campaign asset names a media file by file_url, or else public_url; a content item names an array of them.
SELECT
    (SELECT count(*) FROM tenants) AS tenants,
    (SELECT count(*) FROM brands) AS brands,
    (SELECT count(*) FROM users) AS users,
    (SELECT count(*) FROM topics) AS topics,
    (SELECT count(*) FROM articles) AS articles,
    (SELECT count(*) FROM campaign_assets) AS campaign_assets,
    (SELECT count(*) FROM content_items) AS content_items,
    (SELECT count(*) FROM render_jobs) AS render_jobs,
    (SELECT count(*) FROM user_assets) AS user_assets,
    (SELECT count(*) FROM campaign_assets WHERE coalesce(nullif(file_url, ''), public_url, '') <> '')
    + (
        SELECT coalesce(sum(jsonb_array_length(content_metadata -> 'media')), 0)::bigint
        FROM content_items
        WHERE jsonb_typeof(content_metadata -> 'media') = 'array'
    ) AS named_media
