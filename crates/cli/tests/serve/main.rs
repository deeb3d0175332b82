//! `eqlipse serve` from outside: the binary as a process, with real clients, killed, on a full disk, over damaged files.
#![cfg(unix)]

mod bench;
mod client;
mod clients;
mod damage;
mod folder;
mod full;
mod kill;
mod load;
mod objects;
mod operate;
mod packaging;
mod schema;
mod seed;
mod stop;
