//! Which cipher a connection should have: the fastest of those that are as good.

use ssh2::{Error, MethodType, Session};

/// AES in a mode that also authenticates. OpenSSL does it with the processor's own instructions, several times as fast as
/// libssh2 computes ChaCha20 in C.
const AES_GCM: [&str; 2] = ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com"];

/// Has `session` offer AES-GCM first, in both directions, where this machine has instructions for it; elsewhere the order of
/// libssh2 stays, which begins with ChaCha20-Poly1305. The host chooses among what it knows, as ever.
///
/// # Errors
/// libssh2 does not take the order.
pub(super) fn prefer(session: &Session) -> Result<(), Error> {
    if !has_aes_instructions() {
        return Ok(());
    }
    for direction in [MethodType::CryptCs, MethodType::CryptSc] {
        session.method_pref(direction, &in_order(&session.supported_algs(direction)?))?;
    }
    Ok(())
}

/// What is supported, AES-GCM first.
fn in_order(supported: &[&str]) -> String {
    let first = AES_GCM.iter().filter(|cipher| supported.contains(cipher));
    let others = supported.iter().filter(|cipher| !AES_GCM.contains(cipher));
    first.chain(others).copied().collect::<Vec<&str>>().join(",")
}

#[cfg(target_arch = "x86_64")]
fn has_aes_instructions() -> bool {
    is_x86_feature_detected!("aes") && is_x86_feature_detected!("pclmulqdq")
}

#[cfg(target_arch = "aarch64")]
fn has_aes_instructions() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes_instructions() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aes_gcm_comes_first_and_nothing_gets_lost() {
        let supported =
            ["chacha20-poly1305@openssh.com", "aes256-gcm@openssh.com", "aes256-ctr", "aes128-gcm@openssh.com"];
        let wanted = "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes256-ctr";
        assert_eq!(in_order(&supported), wanted);
        assert_eq!(in_order(&["aes256-ctr"]), "aes256-ctr");
    }

    #[test]
    fn libssh2_takes_the_order() {
        let session = Session::new().unwrap();
        prefer(&session).unwrap();
        let supported = session.supported_algs(MethodType::CryptCs).unwrap();
        assert!(AES_GCM.iter().all(|cipher| supported.contains(cipher)), "{supported:?}");
    }
}
