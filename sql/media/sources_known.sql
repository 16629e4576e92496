-- Which of these sources have a row already, live or deleted: a dropped file is taken in once.
SELECT source FROM media_assets WHERE source = ANY (%(sources)s)
