-- Journal, schema 2: the life of a stored recording. Tables and columns that schema 1 did not have; words inside its CHECKs
-- were completed in schema 1 itself, since no journal of that version is in use anywhere.

-- What a closed segment's payload is when it was compacted, and its samples then (else they follow from plain_bytes).
ALTER TABLE segment ADD COLUMN encoding TEXT NOT NULL DEFAULT 'none' CHECK(encoding IN ('none','flac','opus'));
ALTER TABLE segment ADD COLUMN frames INTEGER CHECK(frames >= 0);

-- Retention and holds. A restriction (kind) lies beside the holds: it keeps data too, and lets nobody read it.
ALTER TABLE hold ADD COLUMN kind TEXT NOT NULL DEFAULT 'hold' CHECK(kind IN ('hold','restriction'));
-- What the placer calls it. Of a person: never the number, which is in `target` as HMAC under the key of remembered numbers.
ALTER TABLE hold ADD COLUMN label TEXT NOT NULL DEFAULT '';
ALTER TABLE hold ADD COLUMN release_asked_at TEXT;
-- Calls up to this seq were looked at for the person it names.
ALTER TABLE hold ADD COLUMN looked_at_seq INTEGER NOT NULL DEFAULT 0;
-- The calls of a person under a hold; made when it is placed, when later calls come, and before each decision about a call.
CREATE TABLE hold_cover(
  hold_id TEXT NOT NULL REFERENCES hold(hold_id), call_id TEXT NOT NULL REFERENCES call(call_id),
  PRIMARY KEY(hold_id, call_id)) STRICT, WITHOUT ROWID;
CREATE INDEX hold_cover_call ON hold_cover(call_id);
-- Which setting says that a due erasure is due; of an erasure by age.
ALTER TABLE due_erasure ADD COLUMN why TEXT NOT NULL DEFAULT '';
-- Retention terms that somebody approved (JSON); scope: a policy's name, '' for what belongs to no policy.
CREATE TABLE retention_terms(
  scope TEXT PRIMARY KEY, terms TEXT NOT NULL, approved_at TEXT NOT NULL, approved_by TEXT NOT NULL) STRICT, WITHOUT ROWID;
-- Copies of this journal that were made: a certificate names them, and nobody can say that there are none.
CREATE TABLE backup(
  backup_id TEXT PRIMARY KEY, place TEXT NOT NULL, begun_at TEXT NOT NULL, finished_at TEXT,
  expires_at TEXT) STRICT, WITHOUT ROWID;
