-- Who is a device, and who asks to be one.

-- Its disk falls back at each start of the system.
ALTER TABLE device ADD COLUMN frozen INTEGER NOT NULL DEFAULT 0;
-- Who said so last, as the audit names them; NULL while nobody did.
ALTER TABLE device ADD COLUMN frozen_by TEXT;
-- How often its state was seen to have gone back.
ALTER TABLE device ADD COLUMN rollbacks INTEGER NOT NULL DEFAULT 0;
-- The state canary: last number told, highest number on the device's disk.
ALTER TABLE device ADD COLUMN canary_told INTEGER NOT NULL DEFAULT 0;
ALTER TABLE device ADD COLUMN canary_kept INTEGER NOT NULL DEFAULT 0;
-- plain, stolen, retired
ALTER TABLE device ADD COLUMN standing_kind TEXT NOT NULL DEFAULT 'plain';
-- The device whose disk was copied to this one.
ALTER TABLE device ADD COLUMN sibling_of BLOB REFERENCES device (id);
CREATE INDEX device_by_sibling ON device (sibling_of);

-- Of another PC with the same identity, not of the device.
ALTER TABLE quarantine ADD COLUMN clone INTEGER NOT NULL DEFAULT 0;

-- A start of an agent that was told apart from the device whose identity it has.
CREATE TABLE clone_run (
    device_id BLOB NOT NULL REFERENCES device (id),
    run_id    BLOB NOT NULL,
    seen_us   INTEGER NOT NULL,
    PRIMARY KEY (device_id, run_id)
) WITHOUT ROWID;

-- A PC of which a person has to say which device it is.
CREATE TABLE admission (
    id             BLOB NOT NULL PRIMARY KEY,
    -- enrollment, clone, question
    kind           TEXT NOT NULL,
    -- What makes two requests one: SHA-256 of the key, or of device and evidence.
    subject        BLOB NOT NULL UNIQUE,
    -- SHA-256 of the key that asks; NULL where only a stream was seen.
    key            BLOB,
    school_id      BLOB NOT NULL REFERENCES school (id),
    token_id       BLOB REFERENCES token (id),
    -- Whose identity it showed; NULL of an enrolment.
    device_id      BLOB REFERENCES device (id),
    evidence       TEXT NOT NULL,
    host_name      TEXT NOT NULL,
    agent_version  TEXT NOT NULL,
    address        TEXT NOT NULL,
    first_us       INTEGER NOT NULL,
    last_us        INTEGER NOT NULL,
    times          INTEGER NOT NULL,
    -- same, new, refused; NULL while it waits
    decision       TEXT,
    decided_device BLOB REFERENCES device (id),
    decided_us     INTEGER,
    decided_by     TEXT,
    -- When the PC took what was decided; from then on it is not undone.
    taken_us       INTEGER
) WITHOUT ROWID;
CREATE INDEX admission_by_device ON admission (device_id);
CREATE INDEX admission_by_school ON admission (school_id);
