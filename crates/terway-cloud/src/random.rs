//! The one source of randomness of this crate: the TLS library's generator, which the operating system
//! seeds. Everything that uses it takes it as a parameter, so that tests repeat.

use std::sync::LazyLock;

use rustls::crypto::CryptoProvider;

static PROVIDER: LazyLock<CryptoProvider> = LazyLock::new(rustls::crypto::ring::default_provider);

/// A source of numbers evenly spread over `0.0..1.0`.
pub(crate) type Random = fn() -> f64;

/// A number evenly spread over `0.0..1.0`.
pub(crate) fn fraction() -> f64 {
    let mut bytes = [0; 4];
    fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}

/// 128 random bits as 32 hexadecimal digits.
pub(crate) fn nonce() -> String {
    let mut bytes = [0; 16];
    fill(&mut bytes);
    format!("{:032x}", u128::from_le_bytes(bytes))
}

#[expect(clippy::expect_used, reason = "getrandom(2) cannot fail once the system has booted")]
fn fill(bytes: &mut [u8]) {
    PROVIDER.secure_random.fill(bytes).expect("the operating system gives random bytes");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonces_differ_and_fractions_stay_inside() {
        assert_eq!(nonce().len(), 32);
        assert_ne!(nonce(), nonce());
        for _ in 0..1000 {
            assert!((0.0..1.0).contains(&fraction()));
        }
    }
}
