//! A simulated fleet of Windows and Linux hosts: an endless stream of the ECS events that their agents would send, with
//! planted attacks. Benchmarks measure with it, tests judge by it, and `eqlipse serve --demo` shows itself with it.

pub mod random;
mod stream;

pub use stream::{ATTACK_EVERY, Stream};
