//! What an attachment looks like in the kernel, and the verbs over that description.

pub mod facts;
pub mod kernel;
