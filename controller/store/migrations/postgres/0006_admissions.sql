-- Who is a device, and who asks to be one.

-- Its disk falls back at each start of the system.
ALTER TABLE device ADD COLUMN frozen BIGINT NOT NULL DEFAULT 0;
-- Who said so last, as the audit names them; NULL while nobody did.
ALTER TABLE device ADD COLUMN frozen_by TEXT COLLATE "C";
-- How often its state was seen to have gone back.
ALTER TABLE device ADD COLUMN rollbacks BIGINT NOT NULL DEFAULT 0;
-- The state canary: last number told, highest number on the device's disk.
ALTER TABLE device ADD COLUMN canary_told BIGINT NOT NULL DEFAULT 0;
ALTER TABLE device ADD COLUMN canary_kept BIGINT NOT NULL DEFAULT 0;
-- plain, stolen, retired
ALTER TABLE device ADD COLUMN standing_kind TEXT COLLATE "C" NOT NULL DEFAULT 'plain';
-- The device whose disk was copied to this one.
ALTER TABLE device ADD COLUMN sibling_of BYTEA REFERENCES device (id);
CREATE INDEX device_by_sibling ON device (sibling_of);

-- Of another PC with the same identity, not of the device.
ALTER TABLE quarantine ADD COLUMN clone BIGINT NOT NULL DEFAULT 0;

-- A start of an agent that was told apart from the device whose identity it has.
CREATE TABLE clone_run (
    device_id BYTEA NOT NULL REFERENCES device (id),
    run_id    BYTEA NOT NULL,
    seen_us   BIGINT NOT NULL,
    PRIMARY KEY (device_id, run_id)
);

-- A PC of which a person has to say which device it is.
CREATE TABLE admission (
    id             BYTEA NOT NULL PRIMARY KEY,
    -- enrollment, clone, question
    kind           TEXT COLLATE "C" NOT NULL,
    -- What makes two requests one: SHA-256 of the key, or of device and evidence.
    subject        BYTEA NOT NULL UNIQUE,
    -- SHA-256 of the key that asks; NULL where only a stream was seen.
    key            BYTEA,
    school_id      BYTEA NOT NULL REFERENCES school (id),
    token_id       BYTEA REFERENCES token (id),
    -- Whose identity it showed; NULL of an enrolment.
    device_id      BYTEA REFERENCES device (id),
    evidence       TEXT COLLATE "C" NOT NULL,
    host_name      TEXT COLLATE "C" NOT NULL,
    agent_version  TEXT COLLATE "C" NOT NULL,
    address        TEXT COLLATE "C" NOT NULL,
    first_us       BIGINT NOT NULL,
    last_us        BIGINT NOT NULL,
    times          BIGINT NOT NULL,
    -- same, new, refused; NULL while it waits
    decision       TEXT COLLATE "C",
    decided_device BYTEA REFERENCES device (id),
    decided_us     BIGINT,
    decided_by     TEXT COLLATE "C",
    -- When the PC took what was decided; from then on it is not undone.
    taken_us       BIGINT
);
CREATE INDEX admission_by_device ON admission (device_id);
CREATE INDEX admission_by_school ON admission (school_id);
