-- Journal, schema 1. Words in CHECKs are those of edge/model/lifecycle.py (tests/unit/store/test_schema.py compares them).
-- Order comes from integer seq columns, never from ids. Shred keys and salts are slots outside this file.

CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE policy(
  policy_id TEXT NOT NULL, version TEXT NOT NULL, document TEXT NOT NULL, loaded_at TEXT NOT NULL,
  PRIMARY KEY(policy_id, version)) STRICT, WITHOUT ROWID;

CREATE TABLE call(
  seq INTEGER PRIMARY KEY AUTOINCREMENT, call_id TEXT NOT NULL UNIQUE, linked_id TEXT NOT NULL,
  channel_uid TEXT NOT NULL, channel_name TEXT NOT NULL, party_id TEXT NOT NULL,
  direction TEXT NOT NULL, policy_id TEXT NOT NULL, policy_version TEXT NOT NULL,
  mode TEXT NOT NULL CHECK(mode IN ('opt_in','opt_out','notice','prior','obligation','manual','never')),
  purposes TEXT NOT NULL,
  state TEXT NOT NULL CHECK(state IN ('offered','asking','permitted','declined','ended')),
  outcome TEXT CHECK(outcome IN ('given','notified','not_required','refused','objected','withdrawn','abandoned',
    'not_recorded','unavailable','adopted')),
  language TEXT, started_at TEXT NOT NULL, ended_at TEXT,
  evidence TEXT NOT NULL DEFAULT 'full' CHECK(evidence IN ('full','minimal','expired')),
  FOREIGN KEY(policy_id, policy_version) REFERENCES policy(policy_id, version),
  CHECK(state <> 'ended' OR (outcome IS NOT NULL AND ended_at IS NOT NULL))) STRICT;
-- The same call entering twice under one policy is one row.
CREATE UNIQUE INDEX call_entry ON call(linked_id, policy_id);
CREATE INDEX call_open ON call(seq) WHERE state <> 'ended';
CREATE INDEX call_ended ON call(ended_at) WHERE ended_at IS NOT NULL;
-- Asked once an hour for evidence that is to go.
CREATE INDEX call_evidence ON call(policy_id, policy_version, ended_at, outcome)
  WHERE state = 'ended' AND evidence <> 'expired';

CREATE TABLE party(
  party_id TEXT PRIMARY KEY, call_id TEXT NOT NULL REFERENCES call(call_id),
  role TEXT NOT NULL CHECK(role IN ('caller','callee','agent','third')),
  number_heard TEXT, number_e164 TEXT, number_hmac TEXT,
  number_class TEXT NOT NULL CHECK(number_class IN ('plain','withheld','invalid')),
  standing TEXT NOT NULL DEFAULT 'none'
    CHECK(standing IN ('given','notified','not_required','standing','none','refused'))) STRICT, WITHOUT ROWID;
CREATE INDEX party_call ON party(call_id);

CREATE TABLE leg(
  party_id TEXT NOT NULL REFERENCES party(party_id), channel_uid TEXT NOT NULL, channel_name TEXT NOT NULL,
  joined_at TEXT, left_at TEXT, PRIMARY KEY(party_id, channel_uid)) STRICT, WITHOUT ROWID;
CREATE INDEX leg_channel ON leg(channel_uid);

CREATE TABLE consent_event(
  seq INTEGER PRIMARY KEY AUTOINCREMENT, call_id TEXT NOT NULL REFERENCES call(call_id),
  party_id TEXT REFERENCES party(party_id),
  kind TEXT NOT NULL CHECK(kind IN ('given','notified','not_required','refused','objected','withdrawn','abandoned',
    'not_recorded','unavailable','adopted','requested','objection_noted','recording_failed')),
  at_wall TEXT NOT NULL, at_mono INTEGER NOT NULL, evidence TEXT NOT NULL) STRICT;
CREATE INDEX consent_event_call ON consent_event(call_id);
-- Anonymisation sets meta.anonymising inside its own transaction and removes it again; it makes evidence less, and cuts
-- times to the minute, or to the hour.
CREATE TRIGGER consent_event_final BEFORE UPDATE ON consent_event
  WHEN NOT EXISTS(SELECT 1 FROM meta WHERE key = 'anonymising')
    OR (NEW.seq, NEW.call_id, NEW.party_id, NEW.kind) IS NOT (OLD.seq, OLD.call_id, OLD.party_id, OLD.kind)
    OR NEW.at_wall NOT IN (OLD.at_wall, substr(OLD.at_wall, 1, 16) || ':00.000Z',
      substr(OLD.at_wall, 1, 13) || ':00:00.000Z')
    OR NEW.at_mono NOT IN (OLD.at_mono, 0)
  BEGIN SELECT RAISE(ABORT, 'consent events are only ever added'); END;
CREATE TRIGGER consent_event_kept BEFORE DELETE ON consent_event
  WHEN NOT EXISTS(SELECT 1 FROM meta WHERE key = 'anonymising')
  BEGIN SELECT RAISE(ABORT, 'consent events are only ever added'); END;

CREATE TABLE permit(
  permit_id TEXT PRIMARY KEY, call_id TEXT NOT NULL REFERENCES call(call_id),
  event_seq INTEGER NOT NULL REFERENCES consent_event(seq), purposes TEXT NOT NULL,
  policy_version TEXT NOT NULL, granted_at TEXT NOT NULL, revoked_at TEXT) STRICT, WITHOUT ROWID;
CREATE INDEX permit_call ON permit(call_id);

CREATE TABLE recording(
  seq INTEGER PRIMARY KEY AUTOINCREMENT, recording_id TEXT NOT NULL UNIQUE,
  call_id TEXT NOT NULL REFERENCES call(call_id), permit_id TEXT NOT NULL REFERENCES permit(permit_id),
  channel_uid TEXT NOT NULL, channel_name TEXT NOT NULL, suite TEXT NOT NULL CHECK(suite IN ('age1','aes256gcm')),
  state TEXT NOT NULL CHECK(state IN ('starting','recording','paused','closing','sealed','no_audio','quarantined',
    'erasing','erased')),
  ending TEXT CHECK(ending IN ('complete','truncated')), frames INTEGER CHECK(frames >= 0),
  started_at TEXT NOT NULL, ended_at TEXT, manifest TEXT) STRICT;
CREATE INDEX recording_call ON recording(call_id);
CREATE INDEX recording_state ON recording(state);

CREATE TABLE capture(
  capture_id TEXT PRIMARY KEY, recording_id TEXT NOT NULL UNIQUE REFERENCES recording(recording_id),
  spool_name TEXT NOT NULL UNIQUE, monitor_id TEXT, codec TEXT NOT NULL,
  rate INTEGER NOT NULL CHECK(rate > 0), channels INTEGER NOT NULL CHECK(channels IN (1, 2)),
  muted INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;

CREATE TABLE segment(
  segment_id TEXT PRIMARY KEY, recording_id TEXT NOT NULL REFERENCES recording(recording_id),
  number INTEGER NOT NULL CHECK(number >= 0), capture_id TEXT NOT NULL REFERENCES capture(capture_id),
  spool_offset INTEGER NOT NULL CHECK(spool_offset >= 0),
  state TEXT NOT NULL CHECK(state IN ('open','closed','truncated','shredded')),
  chunks INTEGER NOT NULL DEFAULT 0, plain_bytes INTEGER NOT NULL DEFAULT 0, payload_bytes INTEGER NOT NULL DEFAULT 0,
  tags_hash BLOB NOT NULL CHECK(length(tags_hash) = 32),
  payload_sha512 BLOB CHECK(length(payload_sha512) = 64),
  end_reason TEXT CHECK(end_reason IN ('hangup','pause','rotate','party','withdraw','power_cut','resume_refused',
    'erase')),
  opened_at TEXT NOT NULL DEFAULT '', closed_at TEXT,
  UNIQUE(recording_id, number)) STRICT, WITHOUT ROWID;

-- slot 0 is the slot file's own header: a row that names it names no key any more (erased).
CREATE TABLE header(
  segment_id TEXT NOT NULL REFERENCES segment(segment_id), version INTEGER NOT NULL CHECK(version >= 0),
  suite TEXT NOT NULL, sealed_header BLOB NOT NULL, slot INTEGER NOT NULL CHECK(slot >= 0),
  recipients TEXT NOT NULL, key_id BLOB NOT NULL CHECK(length(key_id) = 32), made_by TEXT NOT NULL DEFAULT '',
  PRIMARY KEY(segment_id, version)) STRICT, WITHOUT ROWID;
-- One slot holds one key: two rows naming one slot would shred each other's recording.
CREATE UNIQUE INDEX header_slot ON header(slot) WHERE slot > 0;

-- Why a call's recording is paused; several at once, and it goes on when none is open.
CREATE TABLE pause(
  pause_id TEXT PRIMARY KEY, call_id TEXT NOT NULL REFERENCES call(call_id),
  reason TEXT NOT NULL CHECK(reason IN ('asked','hold','party')),
  actor_kind TEXT NOT NULL, actor_name TEXT NOT NULL, began_at TEXT NOT NULL, until_at TEXT,
  ended_at TEXT, ended_kind TEXT, ended_name TEXT) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX pause_open ON pause(call_id, reason) WHERE ended_at IS NULL;
CREATE INDEX pause_call ON pause(call_id);

CREATE TABLE recording_flag(
  recording_id TEXT NOT NULL REFERENCES recording(recording_id),
  flag TEXT NOT NULL CHECK(flag IN ('one_sided','repaired','gap','rogue_monitor','agent_stopped','incident',
    'mute_failed','adopted','duration')),
  detail TEXT NOT NULL, at TEXT NOT NULL, PRIMARY KEY(recording_id, flag)) STRICT, WITHOUT ROWID;
-- Asked every few seconds for what is to be destroyed: few recordings have one, most segments end as shredded.
CREATE INDEX recording_incident ON recording_flag(recording_id) WHERE flag = 'incident';

-- Erasures that come by themselves once the call is over (a withdrawal, an incident).
CREATE TABLE due_erasure(
  recording_id TEXT PRIMARY KEY REFERENCES recording(recording_id), due_at TEXT NOT NULL, cause TEXT NOT NULL,
  event_seq INTEGER REFERENCES consent_event(seq), waits_for TEXT NOT NULL DEFAULT '') STRICT, WITHOUT ROWID;
CREATE INDEX due_time ON due_erasure(due_at);

-- Remembered answers: the number only as HMAC under a key in a slot.
CREATE TABLE answer(
  number_hmac TEXT NOT NULL, purpose TEXT NOT NULL, policy_id TEXT NOT NULL, policy_version TEXT NOT NULL,
  outcome TEXT NOT NULL CHECK(outcome IN ('given','notified','refused','objected')), prompt_major TEXT NOT NULL,
  event_seq INTEGER NOT NULL, verified INTEGER NOT NULL CHECK(verified IN (0, 1)), answered_at TEXT NOT NULL,
  valid_until TEXT NOT NULL, revoked_at TEXT, PRIMARY KEY(number_hmac, policy_id, purpose)) STRICT, WITHOUT ROWID;

CREATE TABLE notice(
  notice_id TEXT PRIMARY KEY, call_id TEXT NOT NULL REFERENCES call(call_id),
  when_ TEXT NOT NULL CHECK(when_ IN ('start','end')), number_e164 TEXT, number_hmac TEXT NOT NULL,
  country TEXT NOT NULL, state TEXT NOT NULL CHECK(state IN ('waiting','sent','dropped')),
  attempts INTEGER NOT NULL DEFAULT 0, due_at TEXT NOT NULL, made_at TEXT NOT NULL, sent_at TEXT, why TEXT NOT NULL,
  CHECK(state = 'waiting' OR number_e164 IS NULL), UNIQUE(call_id, when_)) STRICT, WITHOUT ROWID;
CREATE INDEX notice_waiting ON notice(due_at) WHERE state = 'waiting';
CREATE INDEX notice_made ON notice(made_at);

CREATE TABLE hold(
  hold_id TEXT PRIMARY KEY, scope TEXT NOT NULL CHECK(scope IN ('recording','call','person')), target TEXT NOT NULL,
  reason TEXT NOT NULL, case_ref TEXT, placed_by TEXT NOT NULL, placed_at TEXT NOT NULL,
  release_first_by TEXT, released_by TEXT, released_at TEXT) STRICT, WITHOUT ROWID;
CREATE INDEX hold_target ON hold(target) WHERE released_at IS NULL;

CREATE TABLE inbox(
  seq INTEGER PRIMARY KEY AUTOINCREMENT, jti TEXT NOT NULL UNIQUE, jws TEXT NOT NULL,
  state TEXT NOT NULL CHECK(state IN ('received','deferred','executing','answered','acknowledged')),
  received_at TEXT NOT NULL, due_at TEXT) STRICT;
CREATE TABLE delivery(
  seq INTEGER PRIMARY KEY, jti TEXT, void INTEGER NOT NULL DEFAULT 0 CHECK(void IN (0, 1)),
  received_at TEXT NOT NULL) STRICT;
CREATE TABLE receipt(
  seq INTEGER PRIMARY KEY AUTOINCREMENT, receipt_id TEXT NOT NULL UNIQUE, jti TEXT NOT NULL, n INTEGER NOT NULL,
  result TEXT NOT NULL, jws TEXT NOT NULL, acked_at TEXT, UNIQUE(jti, n)) STRICT;
CREATE INDEX receipt_waiting ON receipt(seq) WHERE acked_at IS NULL;

-- AUTOINCREMENT: pruned numbers never come back, and a rolled back number is used again, so seq is gapless.
CREATE TABLE outbox(
  seq INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL UNIQUE, type TEXT NOT NULL, subject TEXT NOT NULL,
  body TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, dead_reason TEXT) STRICT;

CREATE TABLE alarm(
  seq INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL,
  place TEXT NOT NULL) STRICT;

CREATE TABLE tombstone(
  recording_id TEXT PRIMARY KEY, erased_at TEXT NOT NULL, cause TEXT NOT NULL, receipt_id TEXT,
  key_ids TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- leaf hashes are level 0; audit_node has the complete subtrees of level 1 and up (RFC 6962).
CREATE TABLE audit(idx INTEGER PRIMARY KEY, at TEXT NOT NULL, entry TEXT NOT NULL, leaf BLOB NOT NULL) STRICT;
CREATE TABLE audit_node(
  level INTEGER NOT NULL, idx INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY(level, idx)) STRICT, WITHOUT ROWID;
CREATE TRIGGER audit_final BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END;
CREATE TRIGGER audit_kept BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END;
CREATE TABLE checkpoint(size INTEGER PRIMARY KEY, note TEXT NOT NULL, cosigned TEXT) STRICT;
