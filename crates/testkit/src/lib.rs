//! What tests use to judge eqlipse: the reference interpreter, generators of queries and events, and an EVTX writer.

pub mod evtx_writer;
pub mod generate;
pub mod interpreter;
pub mod specs;
