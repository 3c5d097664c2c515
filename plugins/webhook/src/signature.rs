//! How a receiver knows that a message is ours and of now: HMAC-SHA256 over time and body.
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};

/// A shorter secret could be guessed.
pub const MIN_SECRET: usize = 16;

/// Signs what is sent.
pub struct Signer(Key);

impl Signer {
    /// `None`: the secret is too short.
    pub fn new(secret: &str) -> Option<Signer> {
        (secret.len() >= MIN_SECRET).then(|| Signer(Key::new(HMAC_SHA256, secret.as_bytes())))
    }

    /// `v1=` and the hexadecimal digits of the HMAC over `TIMESTAMP.BODY`, the timestamp as its header has it.
    pub fn sign(&self, timestamp: u64, body: &[u8]) -> String {
        let mut text = format!("{timestamp}.").into_bytes();
        text.extend_from_slice(body);
        let digits: String = sign(&self.0, &text).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("v1={digits}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_what_everybody_computes() {
        // Python: hmac.new(b"0123456789abcdef", b"1767225600.{}", "sha256").hexdigest()
        let signer = Signer::new("0123456789abcdef").unwrap();
        let signed = signer.sign(1_767_225_600, b"{}");
        assert_eq!(signed, "v1=99902517b3069f78750aa0520b0493482454c2d30a579c7acc839f3363ca1b88");
        assert_ne!(signer.sign(1_767_225_601, b"{}"), signed, "another time");
        assert_ne!(signer.sign(1_767_225_600, b"{ }"), signed, "another body");
        assert_ne!(Signer::new("0123456789abcdeg").unwrap().sign(1_767_225_600, b"{}"), signed, "another secret");
    }

    #[test]
    fn a_short_secret_is_none() {
        assert!(Signer::new(&"x".repeat(MIN_SECRET)).is_some());
        assert!(Signer::new(&"x".repeat(MIN_SECRET - 1)).is_none());
    }
}
