//! Enrolment tokens: the secret as people carry it.

use super::{PkiError, random, sha256};

/// What a token begins with, so that people and secret scanners know one when they see it.
const PREFIX: &str = "bbt-";
/// Random bytes of a secret.
const SECRET_BYTES: usize = 20;
/// Crockford's base 32 in lower case: no i, l, o, u to misread.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A new token: `bbt-` and 32 letters and digits, 160 random bits.
pub fn generate() -> Result<String, PkiError> {
    let bytes: [u8; SECRET_BYTES] = random()?;
    let mut token = PREFIX.to_owned();
    for five in bytes.chunks(5) {
        let word = five.iter().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
        for shift in (0..8).rev() {
            token.push(char::from(ALPHABET[(word >> (5 * shift) & 31) as usize]));
        }
    }
    Ok(token)
}

/// What is kept of a token. Case and blanks around it do not matter, letters that are misread are taken for
/// what they look like.
pub fn secret_sha256(token: &str) -> [u8; 32] {
    let plain: String = token
        .trim()
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| match c {
            'o' => '0',
            'i' | 'l' => '1',
            other => other,
        })
        .collect();
    sha256(plain.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_read_from_paper_is_still_the_token() {
        let token = generate().unwrap();
        assert_eq!(token.len(), PREFIX.len() + 32);
        assert_eq!(secret_sha256(&token), secret_sha256(&format!(" {} \n", token.to_uppercase())));
        let misread = token.replace('1', "l").replace('0', "O");
        assert_eq!(secret_sha256(&token), secret_sha256(&misread));
        assert_ne!(secret_sha256(&token), secret_sha256(&generate().unwrap()));
    }
}
