//! What tests and benchmarks use to judge eqlipse: the reference interpreter, generators of queries and events, and an
//! EVTX writer.

mod corpus;
pub mod evtx_writer;
pub mod generate;
pub mod interpreter;
pub mod specs;

pub use corpus::corpus;
