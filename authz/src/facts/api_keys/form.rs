//! What an API key looks like: `dg_ID_SECRETCHECK`.
//!
//! ID has 12 lower-case letters and digits, SECRET 43 characters of base64url (256 random bits), CHECK 6 characters of
//! base64url: the first of SHA-256 over `docsgate api key check v1|ID|SECRET`. The checksum is no secret and proves nothing;
//! it tells noise and typing errors from keys, so that neither costs a look-up.

use anyhow::{Result, anyhow};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

const ID_LENGTH: usize = 12;
const SECRET_LENGTH: usize = 43;
const CHECK_LENGTH: usize = 6;

/// A key in the right form. Whether there is such a key, the database knows.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    id: String,
    secret: String,
}

impl ApiKey {
    /// A new key of 256 random bits.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn generate() -> Result<Self> {
        let random = SystemRandom::new();
        let (mut id, mut secret) = ([0u8; ID_LENGTH], [0u8; 32]);
        random
            .fill(&mut id)
            .and_then(|()| random.fill(&mut secret))
            .map_err(|_| anyhow!("no random numbers can be had"))?;
        let letters = b"abcdefghijklmnopqrstuvwxyz234567";
        let letter = |byte: &u8| char::from(letters.get(usize::from(byte % 32)).copied().unwrap_or(b'a'));
        Ok(Self { id: id.iter().map(letter).collect(), secret: BASE64_URL_SAFE_NO_PAD.encode(secret) })
    }

    /// Reads a key; `None` if it has not the form, or the checksum is not right.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, rest) = parts(text)?;
        let (secret, check) = rest.split_at_checked(SECRET_LENGTH)?;
        let key = Self::of(id, secret)?;
        (key.check() == check).then_some(key)
    }

    /// Reads a key of the form that had no checksum yet, `dg_ID_SECRET`.
    pub fn parse_without_checksum(text: &str) -> Option<Self> {
        let (id, secret) = parts(text)?;
        Self::of(id, secret)
    }

    fn of(id: &str, secret: &str) -> Option<Self> {
        let id_fits = id.len() == ID_LENGTH && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
        let secret_fits = secret.len() == SECRET_LENGTH && secret.bytes().all(fits);
        (id_fits && secret_fits).then(|| Self { id: id.to_owned(), secret: secret.to_owned() })
    }

    /// The public id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What the database keeps of the key. The secret has 256 random bits, so a plain hash cannot be reversed; the id binds
    /// the digest to its row.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(format!("docsgate api key v1|{}|{}", self.id, self.secret)).into()
    }

    /// The key as its holder sends it.
    pub fn reveal(&self) -> String {
        format!("dg_{}_{}{}", self.id, self.secret, self.check())
    }

    fn check(&self) -> String {
        let digest = Sha256::digest(format!("docsgate api key check v1|{}|{}", self.id, self.secret));
        let mut check = BASE64_URL_SAFE_NO_PAD.encode(digest);
        check.truncate(CHECK_LENGTH);
        check
    }
}

/// A log never sees the secret.
impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKey").field("id", &self.id).finish_non_exhaustive()
    }
}

fn parts(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix("dg_")?.split_once('_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_that_was_made_is_read_again_and_its_parts_alone_are_not() {
        let key = ApiKey::generate().unwrap();
        let text = key.reveal();
        assert_eq!(text.len(), 3 + 12 + 1 + 43 + 6);
        assert_eq!(ApiKey::parse(&text), Some(key.clone()));
        for cut in 0..text.len() {
            assert_eq!(ApiKey::parse(&text[..cut]), None);
        }
        assert_eq!(ApiKey::parse(&format!("{text}A")), None);
        assert!(!format!("{key:?}").contains(&key.secret));
    }

    /// Written out, since portals in other languages make keys too.
    #[test]
    fn the_form_is_the_documented_one() {
        let without = format!("dg_abcdefghij23_{}", "A".repeat(43));
        assert_eq!(ApiKey::parse(&without), None, "the checksum is missing");
        let key = ApiKey::parse_without_checksum(&without).unwrap();
        assert_eq!(key.reveal(), format!("{without}tRQ4Gr"));
        let digest: String = key.digest().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, "c31dd6153fa7d5816de95c9d4741e55eaa51e058e211fe0188d6a89926448207");
    }

    proptest! {
        #[test]
        fn one_wrong_character_is_noise(at in 0usize..65, with in "[A-Za-z0-9_-]") {
            let text = ApiKey::generate().unwrap().reveal();
            let mut wrong = text.clone();
            wrong.replace_range(at..=at, &with);
            prop_assert_eq!(ApiKey::parse(&wrong).is_some(), wrong == text);
        }

        #[test]
        fn nothing_that_is_sent_is_too_strange(text in "\\PC{0,90}") {
            prop_assert!(ApiKey::parse(&text).is_none());
        }
    }
}
