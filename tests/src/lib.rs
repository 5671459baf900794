//! The test bench: sandboxes, a simulated cloud with nodes and pods, real packets, and readers of the kernel's
//! state that share no code with what they check. Scenarios, demo and benchmarks are built from it.

pub mod books;
pub mod caller;
pub mod cloud;
pub mod eventually;
pub mod faults;
pub mod imposter;
pub mod kernel;
pub mod linear;
pub mod namespace;
pub mod node;
pub mod page;
pub mod plugin;
pub mod pod;
pub mod probe;
pub mod reach;
pub mod reader;
pub mod sandbox;
pub mod service;
pub mod slowest;
pub mod table;
pub mod trunk;
pub mod world;
