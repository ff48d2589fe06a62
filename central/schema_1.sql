-- Central's database, schema 1. Shred keys are never in here: they lie in the keeper's slot file.
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
-- Bearer tokens. The first 16 digits of the hash are the id by which one is listed and revoked.
CREATE TABLE admin_token(
  token_sha256 TEXT PRIMARY KEY, label TEXT NOT NULL,
  role TEXT NOT NULL CHECK (role IN ('admin', 'ops', 'dpo', 'auditor', 'supervisor')), created_at TEXT NOT NULL,
  expires_at TEXT, revoked_at TEXT) STRICT;
CREATE TABLE enrolment(
  token_sha256 TEXT PRIMARY KEY, edge_id TEXT, created_at TEXT NOT NULL, expires_at TEXT NOT NULL,
  used_at TEXT, used_by TEXT) STRICT;
CREATE TABLE edge(
  edge_id TEXT PRIMARY KEY, kid TEXT NOT NULL UNIQUE, jwk TEXT NOT NULL, enrolled_at TEXT NOT NULL, last_seen_at TEXT,
  last_delivery INTEGER NOT NULL DEFAULT 0,
  state TEXT NOT NULL DEFAULT 'enrolled' CHECK (state IN ('waiting', 'enrolled', 'revoked')), state_at TEXT, state_reason TEXT,
  code TEXT, certificate_ends TEXT) STRICT;
-- People's keys (roles dpo, auditor) and central's own; edges are in `edge`.
CREATE TABLE key(
  kid TEXT PRIMARY KEY, role TEXT NOT NULL CHECK (role IN ('dpo', 'auditor')), owner TEXT NOT NULL, jwk TEXT NOT NULL,
  registered_at TEXT NOT NULL, retired_at TEXT) STRICT;
-- Every event once; `data` without the shred key. `incarnation` tells journals of one edge apart.
CREATE TABLE event(
  event_id TEXT NOT NULL, edge_id TEXT NOT NULL REFERENCES edge, incarnation INTEGER NOT NULL, seq INTEGER NOT NULL,
  type TEXT NOT NULL, subject TEXT NOT NULL, time TEXT NOT NULL, data TEXT NOT NULL,
  received_at TEXT NOT NULL, PRIMARY KEY (edge_id, event_id)) STRICT;
CREATE UNIQUE INDEX event_seq ON event(edge_id, incarnation, seq);
CREATE INDEX event_subject ON event(subject);
-- How far an edge's events are gapless, per incarnation.
CREATE TABLE stream(
  edge_id TEXT NOT NULL REFERENCES edge, incarnation INTEGER NOT NULL, contiguous INTEGER NOT NULL,
  PRIMARY KEY (edge_id, incarnation)) STRICT;
-- `seq` pages; it has no meaning of its own.
CREATE TABLE call(
  seq INTEGER PRIMARY KEY, call_id TEXT NOT NULL UNIQUE, edge_id TEXT NOT NULL REFERENCES edge,
  opened TEXT, closed TEXT, outcome TEXT, outcome_seq INTEGER, anonymised TEXT,
  first_seen TEXT NOT NULL) STRICT;
CREATE TABLE recording(
  seq INTEGER PRIMARY KEY, recording_id TEXT NOT NULL UNIQUE, edge_id TEXT NOT NULL REFERENCES edge,
  call_id TEXT, state TEXT NOT NULL, opened TEXT,
  sealed TEXT, erased TEXT, first_seen TEXT NOT NULL) STRICT;
CREATE INDEX recording_call ON recording(call_id);
CREATE INDEX recording_edge ON recording(edge_id, state);
CREATE TABLE segment(
  segment_id TEXT PRIMARY KEY, recording_id TEXT NOT NULL REFERENCES recording(recording_id), data TEXT NOT NULL) STRICT;
CREATE TABLE header(
  segment_id TEXT NOT NULL, version INTEGER NOT NULL, recording_id TEXT NOT NULL, suite TEXT NOT NULL, sealed_header BLOB,
  key_id TEXT NOT NULL, keeper_slot INTEGER UNIQUE, PRIMARY KEY (segment_id, version)) STRICT;
CREATE INDEX header_recording ON header(recording_id);
-- Wins over everything that arrives later for the same recording.
CREATE TABLE tombstone(
  edge_id TEXT NOT NULL REFERENCES edge, recording_id TEXT NOT NULL, jti TEXT, at TEXT NOT NULL, statement TEXT NOT NULL,
  PRIMARY KEY (edge_id, recording_id)) STRICT;
-- `opening_slot`: the keeper's, with the opening of a person's order until every edge has answered.
CREATE TABLE orders(
  jti TEXT PRIMARY KEY, cmd TEXT NOT NULL, target_kind TEXT NOT NULL, target TEXT NOT NULL, jws TEXT NOT NULL,
  sha256 TEXT NOT NULL, signed_by TEXT NOT NULL, at TEXT NOT NULL, opening_slot INTEGER UNIQUE) STRICT;
-- Certificates of orders that are complete, as they were first given out.
CREATE TABLE certificate(jti TEXT PRIMARY KEY REFERENCES orders, document TEXT NOT NULL, at TEXT NOT NULL) STRICT;
-- `id` tells processes on one database of what another one queued.
CREATE TABLE delivery(
  id INTEGER PRIMARY KEY, edge_id TEXT NOT NULL REFERENCES edge, seq INTEGER NOT NULL, jti TEXT REFERENCES orders, jws TEXT NOT NULL,
  queued_at TEXT NOT NULL, UNIQUE (edge_id, seq)) STRICT;
CREATE INDEX delivery_jti ON delivery(jti);
CREATE TABLE receipt(
  seq INTEGER PRIMARY KEY, receipt_id TEXT NOT NULL UNIQUE, edge_id TEXT NOT NULL REFERENCES edge,
  jti TEXT NOT NULL, n INTEGER NOT NULL,
  result TEXT NOT NULL, recording_id TEXT, jws TEXT NOT NULL, received_at TEXT NOT NULL, UNIQUE (edge_id, jti, n)) STRICT;
CREATE TABLE mirror(
  edge_id TEXT NOT NULL REFERENCES edge, origin TEXT NOT NULL, idx INTEGER NOT NULL, entry TEXT NOT NULL,
  PRIMARY KEY (edge_id, origin, idx)) STRICT, WITHOUT ROWID;
CREATE TABLE mirror_node(
  edge_id TEXT NOT NULL, origin TEXT NOT NULL, level INTEGER NOT NULL, idx INTEGER NOT NULL, hash BLOB NOT NULL,
  PRIMARY KEY (edge_id, origin, level, idx)) STRICT, WITHOUT ROWID;
CREATE TABLE witnessed(
  edge_id TEXT NOT NULL REFERENCES edge, origin TEXT NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL,
  note TEXT NOT NULL, cosigned TEXT NOT NULL, at TEXT NOT NULL, PRIMARY KEY (edge_id, origin, size)) STRICT;
CREATE INDEX witnessed_size ON witnessed(edge_id, size);
CREATE TABLE alarm(
  id INTEGER PRIMARY KEY, at TEXT NOT NULL, edge_id TEXT NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL) STRICT;
CREATE INDEX alarm_edge ON alarm(edge_id, code);
-- Central's own RFC 6962 log of what was done here.
CREATE TABLE log(idx INTEGER PRIMARY KEY, at TEXT NOT NULL, entry TEXT NOT NULL) STRICT;
CREATE TABLE log_node(level INTEGER NOT NULL, idx INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (level, idx)) STRICT, WITHOUT ROWID;


-- ---------------------------------------------------------------- tokens
--


-- ---------------------------------------------------------------- edges: certificates, heartbeats
--
-- Keys that edges had before (the present one is in `edge`), with the statement by which each was replaced.
CREATE TABLE edge_key(
  kid TEXT PRIMARY KEY, edge_id TEXT NOT NULL REFERENCES edge, jwk TEXT NOT NULL, retired_at TEXT NOT NULL,
  statement TEXT NOT NULL) STRICT;
CREATE INDEX edge_key_edge ON edge_key(edge_id);
-- What each edge said of itself last, and the latest starts of its daemon; `cloned_at`: when two of them spoke in turn.
CREATE TABLE heartbeat(
  edge_id TEXT PRIMARY KEY REFERENCES edge, heard_at TEXT NOT NULL, policy TEXT NOT NULL, policy_since TEXT NOT NULL,
  data TEXT NOT NULL, sessions TEXT NOT NULL, cloned_at TEXT) STRICT;
-- Alarms that stand: raised when it began, cleared when it ends.
CREATE TABLE episode(
  edge_id TEXT NOT NULL REFERENCES edge, code TEXT NOT NULL, since TEXT NOT NULL, message TEXT NOT NULL,
  PRIMARY KEY (edge_id, code)) STRICT;


-- ---------------------------------------------------------------- orders
--


-- ---------------------------------------------------------------- cases of data subjects
--

-- A data subject's request. `slot`: the keeper's, with the key over everything that was said in words; `warned`: the alarm that
-- was raised last for its day.
CREATE TABLE subject_case(
  seq INTEGER PRIMARY KEY, ref TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL CHECK (kind IN ('access', 'erasure', 'restriction', 'rectification', 'objection', 'portability')),
  state TEXT NOT NULL CHECK (state IN ('received', 'identified', 'searched', 'reviewed', 'executed', 'answered', 'closed', 'refused',
    'withdrawn')),
  received_at TEXT NOT NULL, due_at TEXT NOT NULL, extended_at TEXT, opened_at TEXT NOT NULL, opened_by TEXT NOT NULL,
  identified_at TEXT, identified_by TEXT, identified_how TEXT, closed_at TEXT, shred_at TEXT, slot INTEGER UNIQUE,
  warned TEXT NOT NULL CHECK (warned IN ('', 'due', 'overdue'))) STRICT;
-- What was done, in order; entry 0 holds the numbers.
CREATE TABLE case_entry(
  ref TEXT NOT NULL REFERENCES subject_case(ref), n INTEGER NOT NULL, at TEXT NOT NULL, by_label TEXT NOT NULL, act TEXT NOT NULL,
  state TEXT NOT NULL, sealed BLOB, PRIMARY KEY (ref, n)) STRICT;
CREATE TABLE case_order(
  ref TEXT NOT NULL REFERENCES subject_case(ref), jti TEXT NOT NULL, cmd TEXT NOT NULL, at TEXT NOT NULL,
  PRIMARY KEY (ref, jti)) STRICT;
-- A review's word about each call that was found.
CREATE TABLE case_choice(
  ref TEXT NOT NULL REFERENCES subject_case(ref), edge_id TEXT NOT NULL, call_id TEXT NOT NULL,
  included INTEGER NOT NULL CHECK (included IN (0, 1)), sealed BLOB NOT NULL, at TEXT NOT NULL, by_label TEXT NOT NULL,
  PRIMARY KEY (ref, edge_id, call_id)) STRICT;
-- Copies that were given out.
CREATE TABLE case_package(
  ref TEXT NOT NULL REFERENCES subject_case(ref), n INTEGER NOT NULL, at TEXT NOT NULL, by_label TEXT NOT NULL, sha256 TEXT NOT NULL,
  size INTEGER NOT NULL, calls INTEGER NOT NULL, recordings TEXT NOT NULL, missing INTEGER NOT NULL, sealed BLOB NOT NULL,
  PRIMARY KEY (ref, n)) STRICT;


-- ---------------------------------------------------------------- media
--
-- Payloads (ciphertext) that edges uploaded: one row each, before the first byte lies anywhere, kept after it is gone for the
-- statement that says so. `place`: kind and id of the store, '' before it is put into one. state: coming, stored, leaving (to
-- be removed), gone.
CREATE TABLE media(
  edge_id TEXT NOT NULL REFERENCES edge, sha512 TEXT NOT NULL, recording_id TEXT NOT NULL, segment_id TEXT NOT NULL,
  number INTEGER NOT NULL, bytes INTEGER NOT NULL, place TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('coming', 'stored', 'leaving', 'gone')), touched_at TEXT NOT NULL, stored_at TEXT,
  leaving_at TEXT, jti TEXT, attempts INTEGER NOT NULL DEFAULT 0, why TEXT NOT NULL DEFAULT '', gone_at TEXT, statement TEXT,
  PRIMARY KEY (edge_id, sha512)) STRICT;
CREATE INDEX media_recording ON media(recording_id, number);
CREATE INDEX media_state ON media(state, touched_at);
-- What a sweep takes away under no row (central/media/claims.py): nobody uploads it meanwhile. `at`: since when.
CREATE TABLE media_claim(
  edge_id TEXT NOT NULL, sha512 TEXT NOT NULL, at TEXT NOT NULL, PRIMARY KEY (edge_id, sha512)) STRICT;


-- ---------------------------------------------------------------- webhooks, incidents, mail
--
-- Webhooks and mail (central/hooks): a row per message and receiver, written in the transaction of what it tells.
-- `lease`: until when its sender has it alone; `owner`: who. `give_up`: when it becomes a dead letter.
CREATE TABLE hook_message(
  seq INTEGER PRIMARY KEY, message_id TEXT NOT NULL UNIQUE, hook TEXT NOT NULL, type TEXT NOT NULL, body TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('waiting', 'sent', 'dead')), made_at TEXT NOT NULL, due_at TEXT NOT NULL,
  give_up TEXT NOT NULL, lease TEXT NOT NULL, owner TEXT NOT NULL, attempts INTEGER NOT NULL, why TEXT NOT NULL,
  done_at TEXT) STRICT;
-- A receiver that is away for days has hundreds of thousands that wait: no look at them may walk or sort them all.
CREATE INDEX hook_message_due ON hook_message(hook, state, due_at, seq);
CREATE INDEX hook_message_test ON hook_message(hook, due_at, seq) WHERE state='waiting' AND type='webhook.test';
CREATE INDEX hook_message_leased ON hook_message(hook, lease) WHERE lease<>'';
CREATE INDEX hook_message_over ON hook_message(give_up) WHERE state='waiting';
CREATE INDEX hook_message_done ON hook_message(state, done_at) WHERE done_at IS NOT NULL;
CREATE INDEX hook_message_hook ON hook_message(hook, state, seq);
-- A receiver as a whole. `failures` in a row; `paused`: nothing is sent before; `alarmed`: it was said since the last success.
CREATE TABLE hook(
  name TEXT PRIMARY KEY, disabled TEXT NOT NULL, failures INTEGER NOT NULL, failing_since TEXT, paused TEXT NOT NULL,
  alarmed INTEGER NOT NULL, last_sent TEXT) STRICT;
-- Incidents (central/incidents). `clock`: whether Art. 33's 72 hours run from `aware_at`; `warned`: 1 said at 24 h left, 2
-- overdue; `facts`: what people add to the notification.
CREATE TABLE incident(
  seq INTEGER PRIMARY KEY, incident_id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, severity TEXT NOT NULL, edge_id TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('open', 'acknowledged', 'assessed', 'notified', 'closed')), clock INTEGER NOT NULL,
  opened_at TEXT NOT NULL, last_at TEXT NOT NULL, aware_at TEXT NOT NULL, alarms INTEGER NOT NULL, notifiable INTEGER,
  reason TEXT NOT NULL, facts TEXT NOT NULL, warned INTEGER NOT NULL, notified_at TEXT, closed_at TEXT) STRICT;
CREATE INDEX incident_joined ON incident(edge_id, kind, state);
-- What one key's orders to erase single recordings and calls named within a day, since the last alarm about that.
CREATE TABLE bulk_named(
  kid TEXT NOT NULL, recording_id TEXT NOT NULL, edge_id TEXT NOT NULL, at TEXT NOT NULL, PRIMARY KEY (kid, recording_id)) STRICT;
-- What was said of an incident: by alarms (`who` is "") and by people, oldest first.
CREATE TABLE incident_entry(
  seq INTEGER PRIMARY KEY, incident_id TEXT NOT NULL REFERENCES incident(incident_id), at TEXT NOT NULL, who TEXT NOT NULL,
  step TEXT NOT NULL, text TEXT NOT NULL, subject TEXT NOT NULL) STRICT;
CREATE INDEX incident_entry_of ON incident_entry(incident_id, seq);
CREATE INDEX incident_entry_said ON incident_entry(incident_id, seq) WHERE who<>'';


-- ---------------------------------------------------------------- numbers and search
-- What an edge said last of a call's numbers; `gone`: there are none any more, whatever comes later.
CREATE TABLE call_numbers(
  call_id TEXT PRIMARY KEY, edge_id TEXT NOT NULL REFERENCES edge, form TEXT NOT NULL CHECK (form IN ('clear','hashed','none')),
  seq INTEGER NOT NULL, gone INTEGER NOT NULL) STRICT;
-- A number, or its hash, under a key of the keeper's. `bucket`: first byte of the hash under `key_id`; what a search looks by.
CREATE TABLE call_number(
  call_id TEXT NOT NULL, party_id TEXT NOT NULL, edge_id TEXT NOT NULL REFERENCES edge, started_at TEXT NOT NULL,
  form TEXT NOT NULL CHECK (form IN ('clear','hashed')), key_id TEXT NOT NULL, bucket INTEGER NOT NULL, sealed BLOB NOT NULL,
  keeper_slot INTEGER NOT NULL UNIQUE, PRIMARY KEY (call_id, party_id)) STRICT;
CREATE INDEX call_number_bucket ON call_number(key_id, bucket, started_at);
-- Calls, or single recordings of them, that an edge restricted (GDPR Art. 18), and restrictions that are over.
CREATE TABLE restriction(
  edge_id TEXT NOT NULL REFERENCES edge, hold_id TEXT NOT NULL, call_id TEXT NOT NULL, recording_id TEXT NOT NULL,
  PRIMARY KEY (edge_id, hold_id, call_id, recording_id)) STRICT;
CREATE INDEX restriction_call ON restriction(call_id);
CREATE TABLE restriction_over(
  edge_id TEXT NOT NULL REFERENCES edge, hold_id TEXT NOT NULL, PRIMARY KEY (edge_id, hold_id)) STRICT;


-- ---------------------------------------------------------------- policies, register of processing
--
-- What edges report of their policies, each text once, without the time.
CREATE TABLE policy_report(report_sha256 TEXT PRIMARY KEY, report TEXT NOT NULL) STRICT;
-- `at`: the edge's word; `since`: the same, but never later than it came. A version that is null: the policy is no more.
CREATE TABLE edge_policy(
  edge_id TEXT NOT NULL REFERENCES edge, policy TEXT NOT NULL, at TEXT NOT NULL,
  report_sha256 TEXT NOT NULL REFERENCES policy_report, version TEXT, since TEXT NOT NULL, received_at TEXT NOT NULL,
  PRIMARY KEY (edge_id, policy, at, report_sha256)) STRICT;
-- Alarms about review dates, each once.
CREATE TABLE review_alarm(
  policy TEXT NOT NULL, review_by TEXT NOT NULL, code TEXT NOT NULL, at TEXT NOT NULL,
  PRIMARY KEY (policy, review_by, code)) STRICT;
