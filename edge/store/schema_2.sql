-- Journal, schema 2: the life of a stored recording. Tables and columns that schema 1 did not have; words inside its CHECKs
-- were completed in schema 1 itself, since no journal of that version is in use anywhere.

-- Recordings taken over from files that others made: one row per file, kept after the recording is erased so that a copy
-- of the same file is not taken over again. `identity` is a digest nobody can try anything against without the sound.
CREATE TABLE adoption(
  recording_id TEXT PRIMARY KEY REFERENCES recording(recording_id),
  identity TEXT NOT NULL UNIQUE CHECK(length(identity) >= 64),
  content TEXT, place TEXT, name TEXT, source TEXT NOT NULL, by_uid INTEGER NOT NULL,
  total_bytes INTEGER NOT NULL CHECK(total_bytes > 0),
  sealed_bytes INTEGER NOT NULL DEFAULT 0 CHECK(sealed_bytes BETWEEN 0 AND total_bytes),
  sealed_sha256 TEXT NOT NULL CHECK(length(sealed_sha256) = 64),
  given_up INTEGER NOT NULL DEFAULT 0 CHECK(given_up IN (0, 1)),
  begun_at TEXT NOT NULL, kept INTEGER CHECK(kept IN (0, 1)), removing_at TEXT, removed_at TEXT) STRICT, WITHOUT ROWID;
CREATE INDEX adoption_outside ON adoption(begun_at) WHERE removed_at IS NULL;
-- What an erasure takes with it; where the file lies stays only while it does.
CREATE TRIGGER adoption_erased AFTER UPDATE OF state ON recording WHEN NEW.state = 'erased'
  BEGIN UPDATE adoption SET content = NULL, name = NULL, sealed_sha256 = printf('%064d', 0),
    place = CASE WHEN removed_at IS NULL THEN place END WHERE recording_id = NEW.recording_id; END;

-- Reading: who read a recording, from the audit log itself. Entries are canonical JSON; SQLite's JSON functions may not
-- stand in an index of a schema that is not trusted, so the id is found by its place.
CREATE INDEX audit_read ON audit(substr(entry, instr(entry, '"recording_id":"') + 16, 32))
  WHERE instr(entry, '"kind":"recording.read') > 0 OR instr(entry, '"kind":"recording.exported"') > 0;

-- Verify: what the run that is going on (or the last one) found about each recording, so that it can be interrupted.
CREATE TABLE verified(
  recording_id TEXT PRIMARY KEY, run TEXT NOT NULL, at TEXT NOT NULL, findings TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX verified_run ON verified(run);

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
-- Walked in pages, the oldest call first, by whoever looks for what is over.
CREATE INDEX call_kept ON call(policy_id, policy_version, ended_at, seq) WHERE state = 'ended';
-- Retention terms that somebody approved (JSON), one row each time; scope: a policy's name, '' for what belongs to no
-- policy. last_call: seq of the newest call there was then, so that no clock says what came before an approval.
CREATE TABLE retention_terms(
  seq INTEGER PRIMARY KEY AUTOINCREMENT, scope TEXT NOT NULL, terms TEXT NOT NULL, approved_at TEXT NOT NULL,
  approved_by TEXT NOT NULL, last_call INTEGER NOT NULL) STRICT;
CREATE INDEX retention_terms_scope ON retention_terms(scope, seq);
-- Copies of this journal that were made: a certificate names them, and nobody can say that there are none.
CREATE TABLE backup(
  backup_id TEXT PRIMARY KEY, place TEXT NOT NULL, begun_at TEXT NOT NULL, finished_at TEXT,
  expires_at TEXT) STRICT, WITHOUT ROWID;


-- Erasure of many calls (a person, a policy), rectification, copies that were given out, anonymous calls.

-- Whom an order is about. The opening of a person's commitment (salt and number) lies in a slot; 0: wiped, or none.
CREATE TABLE order_target(
  jti TEXT PRIMARY KEY REFERENCES inbox(jti), slot INTEGER NOT NULL CHECK(slot >= 0)) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX order_target_slot ON order_target(slot) WHERE slot > 0;

-- What such an order found: restricted at once, destroyed from shred_at on.
CREATE TABLE find(
  jti TEXT NOT NULL REFERENCES inbox(jti), call_id TEXT NOT NULL REFERENCES call(call_id), found_at TEXT NOT NULL,
  shred_at TEXT NOT NULL, state TEXT NOT NULL CHECK(state IN ('waiting','done')), waits_for TEXT NOT NULL DEFAULT '',
  PRIMARY KEY(jti, call_id)) STRICT, WITHOUT ROWID;
CREATE INDEX find_call ON find(call_id) WHERE state = 'waiting';

-- Searches for a person, to bound how many there are in an hour.
CREATE TABLE locate(seq INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL) STRICT;

-- Copies made outside the vault; a deletion certificate lists them.
CREATE TABLE exported(
  seq INTEGER PRIMARY KEY AUTOINCREMENT, recording_id TEXT NOT NULL REFERENCES recording(recording_id),
  form TEXT NOT NULL, purpose TEXT NOT NULL, at TEXT NOT NULL) STRICT;
CREATE INDEX exported_recording ON exported(recording_id);

-- A correction of a call's metadata: the old value only as salted hash. That of a number goes with the call's numbers.
CREATE TABLE rectification(
  seq INTEGER PRIMARY KEY AUTOINCREMENT, call_id TEXT NOT NULL REFERENCES call(call_id),
  field TEXT NOT NULL CHECK(field IN ('number','language','policy')), old_hmac TEXT NOT NULL, reason TEXT NOT NULL,
  uid INTEGER NOT NULL, at TEXT NOT NULL) STRICT;
CREATE INDEX rectification_call ON rectification(call_id);

-- An anonymous call keeps its hour, and how long it was in whole seconds.
ALTER TABLE call ADD COLUMN duration_s INTEGER CHECK(duration_s >= 0);
ALTER TABLE call ADD COLUMN anonymised_at TEXT;
-- A search for a number looks here and nowhere else.
CREATE INDEX party_e164 ON party(number_e164) WHERE number_e164 IS NOT NULL;
CREATE INDEX party_hmac ON party(number_hmac) WHERE number_hmac IS NOT NULL;
CREATE INDEX party_heard ON party(call_id) WHERE number_heard IS NOT NULL AND number_e164 IS NULL;

-- Keys: who made a further header of a stored segment, in their own signed words.
CREATE TABLE rewrap(
  segment_id TEXT NOT NULL, version INTEGER NOT NULL, statement TEXT NOT NULL UNIQUE, at TEXT NOT NULL,
  PRIMARY KEY(segment_id, version), FOREIGN KEY(segment_id, version) REFERENCES header(segment_id, version)) STRICT,
  WITHOUT ROWID;
-- Highest peak of each channel (JSON, '' until somebody looked); the name of a compacted payload until it is renamed.
ALTER TABLE segment ADD COLUMN loudest TEXT NOT NULL DEFAULT '';
ALTER TABLE segment ADD COLUMN staged TEXT NOT NULL DEFAULT '';


-- Orders that change what is in force here, and orders for what is stored.

-- A policy by order: in force (acting), or waiting for its time. Empty text: the file's own again.
CREATE TABLE ordered_policy(
  name TEXT NOT NULL, acting INTEGER NOT NULL CHECK(acting IN (0, 1)), jti TEXT NOT NULL, toml TEXT NOT NULL,
  iat TEXT NOT NULL, acts_at TEXT NOT NULL, PRIMARY KEY(name, acting)) STRICT, WITHOUT ROWID;
-- The pinned keys as orders left them; the newest row counts while the trust file is still the one of that SHA-256.
CREATE TABLE pinned(
  seq INTEGER PRIMARY KEY AUTOINCREMENT, jti TEXT NOT NULL, keyset TEXT NOT NULL, file_sha256 TEXT NOT NULL,
  iat TEXT NOT NULL, at TEXT NOT NULL) STRICT;
-- Recordings whose ciphertext central asked for. result: of the upload; '' while it waits.
CREATE TABLE media_wanted(
  jti TEXT NOT NULL REFERENCES inbox(jti), recording_id TEXT NOT NULL REFERENCES recording(recording_id),
  asked_at TEXT NOT NULL, result TEXT NOT NULL DEFAULT '', evidence TEXT NOT NULL DEFAULT '{}',
  PRIMARY KEY(jti, recording_id)) STRICT, WITHOUT ROWID;
CREATE INDEX media_wanted_waiting ON media_wanted(asked_at) WHERE result = '';

-- Recordings whose ciphertext goes to central by their policy; a row is made when one is sealed. result: '' while it waits.
CREATE TABLE media_due(
  recording_id TEXT PRIMARY KEY REFERENCES recording(recording_id), due_at TEXT NOT NULL,
  result TEXT NOT NULL DEFAULT '', told_at TEXT) STRICT, WITHOUT ROWID;
CREATE INDEX media_due_waiting ON media_due(due_at) WHERE result = '';
