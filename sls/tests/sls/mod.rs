//! Tests of the SLS.

mod announcing;
mod calls;
mod clients;
mod filters;
mod judgements;
mod records;
mod registry;
mod restart;
mod scene;
mod watching;
