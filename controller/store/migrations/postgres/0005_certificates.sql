-- What becomes of a certificate after it was signed.

-- enrollment, renewal, reattachment
ALTER TABLE certificate ADD COLUMN issuance TEXT COLLATE "C" NOT NULL DEFAULT 'enrollment';
-- When the device first used it; NULL before.
ALTER TABLE certificate ADD COLUMN used_us BIGINT;
-- When a newer one of the same device was first used; NULL while it is good.
ALTER TABLE certificate ADD COLUMN superseded_us BIGINT;
