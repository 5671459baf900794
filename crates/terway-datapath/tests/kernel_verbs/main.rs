//! The kernel verbs against a real kernel.
fn main() {}
