//! One signature for many texts: the hash tree of RFC 9162, section 2.1, whose root is signed. Each text can be shown
//! with its path to the root, and without the others.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tycoon_market::in_text_form;

/// Hashes in a path at most: a tree has at most 2⁶⁴ leaves.
const PATH_MAX: usize = 64;

/// A hash in the tree, written in base64.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NodeHash([u8; 32]);

/// A text that is not a hash in a tree.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("not a hash: base64 of 32 bytes is expected")]
pub struct NodeHashError;

impl NodeHash {
    /// The hash's 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The hash of a text.
    pub fn of_leaf(text: &[u8]) -> Self {
        Self(Sha256::new().chain_update([0]).chain_update(text).finalize().into())
    }

    fn of_both(left: &Self, right: &Self) -> Self {
        Self(Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0).finalize().into())
    }
}

impl fmt::Display for NodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Base64Display::new(&self.0, &BASE64).fmt(f)
    }
}

in_text_form!(NodeHash);

impl fmt::Debug for NodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeHash({self})")
    }
}

impl FromStr for NodeHash {
    type Err = NodeHashError;

    fn from_str(text: &str) -> Result<Self, NodeHashError> {
        // Room for one byte too many, with which it is none.
        let mut bytes = [0; 33];
        let length = BASE64.decode_slice(text, &mut bytes).map_err(|_| NodeHashError)?;
        bytes[..length].try_into().map(Self).map_err(|_| NodeHashError)
    }
}

/// Where a leaf is in a tree, and its way to the root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inclusion {
    /// The leaf's number, from 0.
    pub leaf_index: u64,
    /// How many leaves the tree has.
    pub tree_size: u64,
    /// The hashes beside the way from the leaf to the root.
    pub inclusion_path: Vec<NodeHash>,
}

impl Inclusion {
    /// The root of the tree that has `leaf` at this place (RFC 9162, section 2.1.3.2); `None` where no tree has.
    pub fn root(&self, leaf: NodeHash) -> Option<NodeHash> {
        if self.leaf_index >= self.tree_size || self.inclusion_path.len() > PATH_MAX {
            return None;
        }
        let (mut index, mut last, mut hash) = (self.leaf_index, self.tree_size - 1, leaf);
        for beside in &self.inclusion_path {
            if last == 0 {
                return None;
            }
            if index & 1 == 1 || index == last {
                hash = NodeHash::of_both(beside, &hash);
                // The last node of a level that nothing stands beside is a node of the next one too.
                while index & 1 == 0 && index != 0 {
                    (index, last) = (index >> 1, last >> 1);
                }
            } else {
                hash = NodeHash::of_both(&hash, beside);
            }
            (index, last) = (index >> 1, last >> 1);
        }
        (last == 0).then_some(hash)
    }
}

/// A tree over leaves, of which there is one at least.
pub struct Tree {
    /// From the leaves to the root.
    levels: Vec<Vec<NodeHash>>,
}

impl Tree {
    /// The tree over these leaves; `None` where there are none.
    pub fn over(leaves: Vec<NodeHash>) -> Option<Self> {
        let mut levels = vec![leaves];
        while let Some(level) = levels.last().filter(|level| level.len() > 1) {
            let above = |pair: &[NodeHash]| match pair {
                [left, right] => NodeHash::of_both(left, right),
                // It is a node of the next level too.
                alone => alone[0],
            };
            let next = level.chunks(2).map(above).collect();
            levels.push(next);
        }
        levels.last().is_some_and(|root| root.len() == 1).then_some(Self { levels })
    }

    /// The root.
    pub fn root(&self) -> NodeHash {
        self.levels[self.levels.len() - 1][0]
    }

    /// The place of the leaf `index`, which is one of the tree's.
    pub fn inclusion(&self, index: usize) -> Inclusion {
        let beside = |(depth, level): (usize, &Vec<NodeHash>)| level.get((index >> depth) ^ 1).copied();
        Inclusion {
            leaf_index: index as u64,
            tree_size: self.levels[0].len() as u64,
            inclusion_path: self.levels.iter().enumerate().filter_map(beside).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(number: u64) -> NodeHash {
        NodeHash::of_leaf(&number.to_be_bytes())
    }

    /// As section 2.1.1 of the RFC defines it: split at the largest power of two below the number of leaves.
    fn root_by_definition(leaves: &[NodeHash]) -> NodeHash {
        if leaves.len() == 1 {
            return leaves[0];
        }
        let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
        NodeHash::of_both(&root_by_definition(left), &root_by_definition(right))
    }

    #[test]
    fn every_leaf_of_a_tree_of_any_size_leads_to_its_root_and_no_other_does() {
        for size in 1..=70 {
            let leaves: Vec<NodeHash> = (0..size).map(leaf).collect();
            let tree = Tree::over(leaves.clone()).unwrap();
            assert_eq!(tree.root(), root_by_definition(&leaves), "{size} leaves");
            for (index, own) in leaves.iter().enumerate() {
                let place = tree.inclusion(index);
                assert_eq!(place.root(*own), Some(tree.root()), "leaf {index} of {size}");
                assert_ne!(place.root(leaf(1000)), Some(tree.root()), "another leaf at {index} of {size}");
                for (what, other) in [
                    ("the next place", Inclusion { leaf_index: place.leaf_index + 1, ..place.clone() }),
                    ("a path that is too long", {
                        let path = [place.inclusion_path.clone(), vec![leaf(0)]].concat();
                        Inclusion { inclusion_path: path, ..place.clone() }
                    }),
                    ("twice the size", Inclusion { tree_size: size * 2, ..place.clone() }),
                ] {
                    assert_ne!(other.root(*own), Some(tree.root()), "{what}, leaf {index} of {size}");
                }
                for step in 0..place.inclusion_path.len() {
                    let mut changed = place.clone();
                    changed.inclusion_path[step] = leaf(2000);
                    assert_ne!(changed.root(*own), Some(tree.root()), "step {step}, leaf {index} of {size}");
                    changed.inclusion_path.remove(step);
                    assert_ne!(changed.root(*own), Some(tree.root()), "without step {step}, leaf {index} of {size}");
                }
            }
        }
        assert!(Tree::over(Vec::new()).is_none());
    }

    #[test]
    fn a_hash_reads_back() {
        assert_eq!(leaf(1).to_string().parse(), Ok(leaf(1)));
        for text in ["", "AA==", "!", &"A".repeat(100)] {
            assert_eq!(text.parse::<NodeHash>(), Err(NodeHashError), "{text}");
        }
    }
}
