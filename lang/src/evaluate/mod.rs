//! Evaluating: from classes to instances and values.
//!
//! Every leaf is computed once, when it is first needed; needing a value while it is computed is a cycle.
//! [`instance`] expands `count` and `each`, [`plan`] finds what is alike in all instances, [`demand`] computes
//! leaves, [`names`] looks up names, [`compute`] computes expressions, [`walk`] follows paths, [`check`] goes
//! through everything once so that all errors come in one run.

pub(crate) mod check;
pub(crate) mod compute;
pub(crate) mod demand;
pub(crate) mod instance;
pub(crate) mod meant;
pub(crate) mod names;
pub(crate) mod output;
pub(crate) mod params;
pub(crate) mod plan;
pub(crate) mod root;
pub(crate) mod walk;
