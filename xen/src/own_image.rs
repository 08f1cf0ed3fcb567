//! Names of images that accounts have brought to a host for themselves. To its account such an image has the name that
//! it was brought under; the host tells those of several accounts apart by the account's id before it. Nobody hears of
//! another's.

use tycoon_market::AccountId;

/// The longest name under which an account brings an image, in bytes: with the account's id before it, it still is a
/// name of an image.
pub const NAME_BYTES_MAX: usize = 95;

/// The name by which the host knows the image of an account.
pub fn name_on_host(account: &AccountId, image: &str) -> String {
    format!("{account}:{image}")
}

/// Whose image a name on the host means, and the name that its account uses; `None` where it is for everybody.
pub fn parse(name: &str) -> Option<(AccountId, &str)> {
    let (account, image) = name.split_once(':')?;
    Some((account.parse().ok()?, image))
}

/// Of the names on the host, those that mean something to `account`, as it knows them, ordered; to nobody in particular
/// where there is no account.
pub fn visible(images: &[String], account: Option<&AccountId>) -> Vec<String> {
    let known = |name: &String| match parse(name) {
        None => Some(name.clone()),
        Some((of, image)) => (Some(&of) == account).then(|| image.to_owned()),
    };
    let mut names: Vec<String> = images.iter().filter_map(known).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use tycoon_market::PublicKey;

    use super::*;

    fn account(byte: u8) -> AccountId {
        AccountId::of(&(byte..).find_map(|byte| PublicKey::from_bytes([byte; 32]).ok()).unwrap())
    }

    #[test]
    fn everybody_hears_of_her_own_images_and_of_nobody_elses() {
        let (alice, bob) = (account(1), account(100));
        assert_ne!(alice, bob);
        let on_host: Vec<String> = [
            "std:tiny".to_owned(),
            name_on_host(&alice, "lab:web"),
            name_on_host(&bob, "secret"),
            name_on_host(&bob, "std:tiny"),
        ]
        .into();
        assert_eq!(visible(&on_host, None), ["std:tiny"]);
        assert_eq!(visible(&on_host, Some(&alice)), ["lab:web", "std:tiny"]);
        assert_eq!(visible(&on_host, Some(&bob)), ["secret", "std:tiny"]);
        assert_eq!(parse("std:tiny"), None);
        assert_eq!(parse(&on_host[1]), Some((alice, "lab:web")));
    }
}
