//! A part of the state that its copies share until one of them changes it. Every event works on a copy, so that it can be
//! given up, and changes little of it.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Copying it costs nothing; the first change of a copy makes it a value of its own. So look before you change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Shared<T>(Arc<T>);

impl<T> From<T> for Shared<T> {
    fn from(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T> Shared<T> {
    /// True where both are copies of which none was changed since.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Clone> DerefMut for Shared<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_is_changed_leaves_the_others_as_they_were() {
        let one = Shared::from(vec![1]);
        let mut other = one.clone();
        assert!(std::ptr::eq(&*one, &*other));
        other.push(2);
        assert_eq!((one.len(), other.len()), (1, 2));
        assert_eq!(serde_json::to_string(&other).unwrap(), "[1,2]", "it is written as if it were not shared");
    }
}
