//! What tests and benchmarks use to judge eqlipse: the reference interpreter, generators of queries and events, an
//! endless stream of events, and an EVTX writer.

mod corpus;
pub mod evtx_writer;
pub mod generate;
pub mod interpreter;
pub mod random;
pub mod specs;
pub mod stream;

pub use corpus::corpus;
