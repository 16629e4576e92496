-- Room for the revision's statements, filled by its owner in this same change.
SELECT 1;
