-- Journal, schema 2: the life of a stored recording. Tables and columns that schema 1 did not have; words inside its CHECKs
-- were completed in schema 1 itself, since no journal of that version is in use anywhere.

-- What a closed segment's payload is when it was compacted, and its samples then (else they follow from plain_bytes).
ALTER TABLE segment ADD COLUMN encoding TEXT NOT NULL DEFAULT 'none' CHECK(encoding IN ('none','flac','opus'));
ALTER TABLE segment ADD COLUMN frames INTEGER CHECK(frames >= 0);
